"""The same PyTorch model with another backend: what both share, and what stays as it is."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from tiny_models import IDS, made

from automodels.errors import InputError
from torch_heads import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPTNeoForCausalLM,
    OPTForCausalLM,
    OPTModel,
)
from torch_heads.tasks import BackboneForSequenceClassification

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = {"bert": BertForMaskedLM, "opt": OPTForCausalLM, "gpt_neo": GPTNeoForCausalLM}
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_another_backend_has_the_same_parameters_and_leaves_the_first_as_it_is(family):
    model = made(FAMILIES[family])
    expected = model(IDS).logits

    other = model.with_backend("eager")

    assert (model.backend_report.spec, other.backend_report.spec) == ("sdpa+uncompiled", "eager+uncompiled")
    assert {part.attend.name for part in model.modules() if "attend" in part.__dict__} == {"sdpa"}
    assert {part.attend.name for part in other.modules() if "attend" in part.__dict__} == {"eager"}
    pairs = [(dict(one.named_parameters(remove_duplicate=False)), dict(one.named_buffers())) for one in (model, other)]
    for first, second in zip(*pairs, strict=True):
        assert first.keys() == second.keys()
        assert all(first[name] is second[name] for name in first)
    torch.testing.assert_close(other(IDS).logits, expected, atol=1e-5, rtol=1e-5)
    other.config.num_labels = 7
    assert model.config.num_labels == 2
    assert pickle.loads(pickle.dumps(other)).backend_report.spec == "eager+uncompiled"
    assert not {id(part) for part in model.modules()} & {id(part) for part in other.modules()}


def test_what_is_trained_in_one_changes_the_other():
    model = made(OPTForCausalLM)
    other = model.with_backend("eager")
    before = model(IDS).logits

    with torch.enable_grad():
        other(IDS, labels=IDS).loss.backward()
    torch.optim.SGD(other.parameters(), lr=0.1).step()

    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight is other.lm_head.weight
    assert not torch.allclose(model(IDS).logits, before)
    torch.testing.assert_close(model(IDS).logits, other(IDS).logits, atol=1e-5, rtol=1e-5)


def test_a_head_on_any_backbone_takes_another_backend():
    model = BackboneForSequenceClassification.on(OPTModel)(made(OPTForCausalLM).config.copy_with(pad_token_id=0)).eval()

    other = model.with_backend("eager")

    assert type(other) is type(model)
    assert all(one is same for one, same in zip(model.parameters(), other.parameters(), strict=True))
    torch.testing.assert_close(other(IDS).logits, model(IDS).logits, atol=1e-5, rtol=1e-5)
    assert pickle.loads(pickle.dumps(other)).backend_report.name == "eager"


@pytest.mark.parametrize("case", ["plain", "opt", "head"])
def test_a_model_with_an_adapter_shares_it(case):
    folder = GOLDEN / "torch_adapters" / case
    said = json.loads((folder / "adapter_config.json").read_text())
    model_class = OPTForCausalLM if case == "opt" else BertForSequenceClassification
    model = model_class.from_pretrained(GOLDEN / said["base_model_name_or_path"])
    plain = model(IDS).logits
    model.load_adapter(folder)
    adapted = model(IDS).logits

    other = model.with_backend("eager")

    def close(found, expected):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    close(other(IDS).logits, adapted)
    pairs = zip(model.named_parameters(), other.named_parameters(), strict=True)
    assert all(one[0] == same[0] and one[1] is same[1] for one, same in pairs)
    for one, another in ((model, other), (other, model)):
        one.merge_adapter()  # new weights in one of them
        close(one(IDS).logits, adapted)
        close(another(IDS).logits, adapted)
        one.unmerge_adapter()
        one.disable_adapters()
        close(one(IDS).logits, plain)
        close(another(IDS).logits, adapted)
        one.enable_adapters()
    other.delete_adapter()
    close(other(IDS).logits, plain)
    close(model(IDS).logits, adapted)


def test_the_load_report_of_a_changed_model_names_its_backend(tmp_path):
    made(OPTForCausalLM).save_pretrained(tmp_path)
    model = OPTForCausalLM.from_pretrained(tmp_path)

    other = model.with_backend("eager")

    assert other.load_report.backend is other.backend_report
    assert model.load_report.backend.spec == "sdpa+uncompiled"
    assert other.load_report.loaded == model.load_report.loaded


def test_a_model_on_several_devices_shares_its_parameters_with_no_other():
    model = made(BertModel)
    model.device_map = {"embeddings": "cpu", "": "disk"}

    with pytest.raises(InputError, match="on several devices or on disk"):
        model.with_backend("eager")
