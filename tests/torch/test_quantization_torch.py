"""Linear layers in int8, by torchao."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
from tiny_models import IDS, made

from automodels.errors import InputError, MissingDependencyError
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertModel, OPTForCausalLM
from torch_runtime.quantization import Quantization, is_quantized

pytestmark = pytest.mark.filterwarnings("ignore")  # torchao warns of its own compiled parts, and of torch's versions


@pytest.fixture(scope="module")
def torchao():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchao")


@pytest.fixture
def saved(tmp_path):
    """A model that predicts tokens, and its checkpoint."""
    model = made(OPTForCausalLM, hidden_size=64, word_embed_proj_dim=64, num_attention_heads=2, ffn_dim=128)
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", model


def quantized(model) -> list[str]:
    return [name for name, parameter in model.named_parameters() if is_quantized(parameter)]


@pytest.mark.parametrize("asked", ["int8", Quantization()])
def test_linear_layers_are_quantised_and_results_stay_close(torchao, saved, asked):
    folder, model = saved

    loaded = OPTForCausalLM.from_pretrained(folder, quantization=asked)

    assert loaded.quantization == "int8"
    inside = [name for name, part in loaded.model.named_modules() if isinstance(part, torch.nn.Linear)]
    assert quantized(loaded) == [f"model.{name}.weight" for name in inside]
    with torch.no_grad():
        difference = (loaded(IDS).logits - model(IDS).logits).abs().max()
        scale = model(IDS).logits.abs().max()
    assert 0 < difference < 0.05 * scale
    assert loaded.num_parameters() == model.num_parameters()
    assert loaded.get_memory_footprint() < 0.5 * model.get_memory_footprint()


def test_rounding_is_half_a_step_of_the_largest_number_in_each_row(torchao, saved):
    folder, model = saved
    loaded = OPTForCausalLM.from_pretrained(folder, quantization="int8")

    weights = dict(model.named_parameters())
    for name in quantized(loaded):
        step = weights[name].abs().amax(1, keepdim=True) / 127
        found = loaded.get_parameter(name).dequantize()
        assert ((found - weights[name]).abs() <= 0.52 * step).all(), name


def test_heads_and_what_is_named_stay_as_they_are(torchao, tmp_path):
    model = made(BertForSequenceClassification)
    model.save_pretrained(tmp_path / "model")

    wanted = Quantization(kind="int8", skip=("bert.encoder.layer.0", "bert.pooler"))
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "model", quantization=wanted)

    assert quantized(loaded)
    assert all(name.startswith("bert.encoder.layer.1.") for name in quantized(loaded))
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)
    with pytest.raises(InputError, match="skips 'bert.poler', which is no module; did you mean 'bert.pooler'"):
        BertForSequenceClassification.from_pretrained(
            tmp_path / "model", quantization=Quantization(skip=("bert.poler",))
        )


def test_a_quantised_model_is_not_saved_until_its_values_are_numbers_again(torchao, saved, tmp_path):
    folder, _ = saved
    loaded = OPTForCausalLM.from_pretrained(folder, quantization="int8")
    with torch.no_grad():
        before = loaded(IDS).logits

    with pytest.raises(InputError, match="holds int8 values"):
        loaded.save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again").exists()

    loaded.dequantize()
    loaded.save_pretrained(tmp_path / "again")

    assert quantized(loaded) == []
    again = OPTForCausalLM.from_pretrained(tmp_path / "again", strict=True)
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, loaded(IDS).logits)
        torch.testing.assert_close(loaded(IDS).logits, before, atol=1e-4, rtol=1e-4)


def test_an_adapter_works_above_int8_and_is_not_merged_into_it(torchao):
    from test_adapters_torch import ADAPTERS, GOLDEN, golden

    folder = GOLDEN / "bert_tasks/sequence_odd"
    loaded = BertForSequenceClassification.from_pretrained(folder, quantization="int8")

    loaded.load_adapter(ADAPTERS / "plain")

    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, golden("plain")["logits"], atol=0.1, rtol=0.1)
    with pytest.raises(InputError, match="is quantised: no adapter can be merged"):
        loaded.merge_adapter()


@pytest.mark.parametrize(
    ("asked", "said"),
    [("int4", "quantization is 'int4'; did you mean 'int8'"), (8, "quantization is 8, neither"), ("x", "known: int8")],
)
def test_unknown_kinds_are_refused(saved, asked, said):
    with pytest.raises(InputError, match=said):
        OPTForCausalLM.from_pretrained(saved[0], quantization=asked)


def test_without_torchao_it_is_said_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)

    with pytest.raises(MissingDependencyError, match="pip install torchao"):
        OPTForCausalLM.from_pretrained(saved[0], quantization="int8")


def test_a_model_in_several_places_is_not_quantised(torchao, tmp_path):
    pytest.importorskip("accelerate")
    made(BertModel).save_pretrained(tmp_path / "model")

    with pytest.raises(InputError, match="quantization needs the whole model on one device"):
        BertModel.from_pretrained(tmp_path / "model", quantization="int8", device_map={"": "cpu", "encoder": "disk"})


def test_a_model_that_is_not_quantised_stays_as_it_is_when_dequantised():
    model = made(BertForMaskedLM)
    weight = model.bert.encoder.layer[0].output.dense.weight

    model.dequantize()

    assert model.bert.encoder.layer[0].output.dense.weight is weight
