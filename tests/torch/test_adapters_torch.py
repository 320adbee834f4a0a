"""LoRA adapters: what PEFT computes with them (see tests/golden/make_torch_adapters.py), and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import IDS, assert_unchanged, copied, made

from automodels.errors import (
    CheckpointFormatError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    ConfigFileError,
    ConfigValueError,
    InputError,
    UnsupportedConfigError,
)
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertModel, GPTNeoForCausalLM, OPTForCausalLM

GOLDEN = Path(__file__).parents[1] / "golden"
ADAPTERS = GOLDEN / "torch_adapters"
CASES = sorted(path.name for path in ADAPTERS.iterdir())
CLASSES = {"opt": OPTForCausalLM, "neo": GPTNeoForCausalLM}


def base(case="plain"):
    """The model that an adapter is for."""
    said = json.loads((ADAPTERS / case / "adapter_config.json").read_text())
    return CLASSES.get(case, BertForSequenceClassification).from_pretrained(GOLDEN / said["base_model_name_or_path"])


def golden(case) -> dict[str, torch.Tensor]:
    with np.load(ADAPTERS / case / "golden.npz") as data:
        return {name: torch.from_numpy(array) for name, array in data.items()}


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def close(found, expected) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_gives_what_peft_gives_loaded_merged_and_taken_out_again(case):
    model, expected = base(case), golden(case)
    before, config = copied(model), model.config.to_json_string()
    plain = logits(model)
    if case not in ("head", "biases"):  # PEFT's base keeps the adapter's biases and heads
        close(plain, expected["base"])

    model.load_adapter(ADAPTERS / case)
    close(logits(model), expected["logits"])
    assert not torch.allclose(logits(model), plain, atol=1e-3)

    model.merge_adapter()
    close(logits(model), expected["merged"])

    model.unmerge_adapter()
    close(logits(model), expected["logits"])

    model.disable_adapters()
    assert torch.equal(logits(model), plain)

    model.enable_adapters()
    close(logits(model), expected["logits"])

    model.merge_adapter()
    model.delete_adapter()
    assert torch.equal(logits(model), plain)
    assert_unchanged(model, before, config)


@pytest.mark.parametrize("case", CASES)
def test_an_adapter_is_saved_as_it_was(tmp_path, case):
    model = base(case)
    model.load_adapter(ADAPTERS / case)

    model.save_adapter(tmp_path / "saved")

    old, new = (load_file(folder / "adapter_model.safetensors") for folder in (ADAPTERS / case, tmp_path / "saved"))
    assert old.keys() == new.keys()
    assert all(torch.equal(tensor, new[name]) for name, tensor in old.items())
    said = [
        json.loads((folder / "adapter_config.json").read_text()) for folder in (ADAPTERS / case, tmp_path / "saved")
    ]
    assert said[0] == said[1]

    model.disable_adapters()
    model.save_adapter(tmp_path / "disabled")

    again = load_file(tmp_path / "disabled" / "adapter_model.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in old.items())


def test_a_merged_model_is_saved_as_one_without_adapters(tmp_path):
    model = base("head")
    model.load_adapter(ADAPTERS / "head")

    with pytest.raises(InputError, match=r"adapters that are not part of its weights: default"):
        model.save_pretrained(tmp_path / "model")

    model.merge_adapter()
    model.save_pretrained(tmp_path / "model")

    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "model", strict=True)
    assert torch.equal(logits(loaded), logits(model))


def test_a_model_whose_adapters_are_disabled_is_saved_as_it_was(tmp_path):
    model = base()
    plain = logits(model)
    model.load_adapter(ADAPTERS / "plain")
    model.disable_adapters()

    model.save_pretrained(tmp_path / "model")

    assert torch.equal(logits(BertForSequenceClassification.from_pretrained(tmp_path / "model", strict=True)), plain)


def test_several_adapters_add_up_and_go_in_any_order():
    model = base()
    plain = logits(model)
    model.load_adapter(ADAPTERS / "plain", "first")
    first = logits(model)
    model.load_adapter(ADAPTERS / "patterns", "second")
    both = logits(model)

    assert model.active_adapters == ["first", "second"]
    assert not torch.allclose(both, first, atol=1e-3)

    model.merge_adapter()
    close(logits(model), both)

    model.delete_adapter("second")
    assert torch.equal(logits(model), first)

    model.delete_adapter("first")
    assert torch.equal(logits(model), plain)
    assert model.active_adapters == []
    assert not any(hasattr(part, "lora") for part in model.modules())


def test_one_of_several_adapters_is_chosen_by_its_name():
    model = base()
    model.load_adapter(ADAPTERS / "plain", "first")
    first = logits(model)
    model.load_adapter(ADAPTERS / "patterns", "second")
    both = logits(model)

    model.merge_adapter()
    model.set_adapter("first")

    assert model.active_adapters == ["first"]
    assert torch.equal(logits(model), first)

    model.set_adapter(["second", "first"])

    assert model.active_adapters == ["first", "second"]
    close(logits(model), both)
    with pytest.raises(InputError, match="no adapter 'secnd'; did you mean 'second'"):
        model.set_adapter(["first", "secnd"])
    assert model.active_adapters == ["first", "second"]


def test_an_adapter_of_the_backbone_fits_models_with_heads_and_the_other_way_round():
    whole, backbone = base(), None
    backbone = BertModel.from_pretrained(GOLDEN / "bert_tasks/sequence_odd")

    backbone.load_adapter(ADAPTERS / "plain")
    whole.load_adapter(ADAPTERS / "plain")

    with torch.no_grad():
        close(backbone(IDS)[0], whole.bert(IDS)[0])


def test_factors_are_trained_where_that_is_asked_for():
    model = base().requires_grad_(False)
    model.load_adapter(ADAPTERS / "plain", is_trainable=True)
    other = base()
    other.load_adapter(ADAPTERS / "plain")

    model(IDS).logits.sum().backward()

    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained
    assert all(".lora.default." in name for name in trained)
    assert not [name for name, parameter in other.named_parameters() if ".lora." in name and parameter.requires_grad]


def test_adapters_move_and_are_cast_with_the_model():
    model = base()
    model.load_adapter(ADAPTERS / "table")

    model.double()

    torch.testing.assert_close(logits(model).float(), golden("table")["logits"], atol=1e-5, rtol=1e-5)
    model.merge_adapter()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def test_a_model_with_an_adapter_is_compiled_without_breaks():
    model = base()
    model.load_adapter(ADAPTERS / "plain")

    with torch.no_grad():
        found = torch.compile(model, fullgraph=True, backend="eager")(IDS).logits

    close(found, golden("plain")["logits"])


def test_weights_of_a_torch_zip_are_read(tmp_path):
    shutil.copy(ADAPTERS / "plain" / "adapter_config.json", tmp_path)
    torch.save(load_file(ADAPTERS / "plain" / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    model = base()

    model.load_adapter(tmp_path)

    close(logits(model), golden("plain")["logits"])


def changed(folder, case="plain", tensors=None, **fields):
    """A copy of an adapter with other fields in its config, and tensors changed or added (None: left out)."""
    shutil.copytree(ADAPTERS / case, folder)
    said = json.loads((folder / "adapter_config.json").read_text()) | fields
    (folder / "adapter_config.json").write_text(json.dumps(said))
    held = load_file(folder / "adapter_model.safetensors") | (tensors or {})
    save_file({name: one for name, one in held.items() if one is not None}, folder / "adapter_model.safetensors")
    return folder


QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"use_dora": True}, "use_dora=true"),
        ({"peft_type": "IA3"}, "of the kind 'IA3'"),
        ({"peft_type": None}, "of the kind None"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_parameters": ["weight"]}, "target_parameters"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
    ],
)
def test_kinds_that_are_not_implemented_are_refused_by_name(tmp_path, fields, said):
    model = base()
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(UnsupportedConfigError, match=said):
        model.load_adapter(changed(tmp_path / "adapter", **fields))

    assert_unchanged(model, before, config)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": "8"}, "r is '8'"),
        ({"lora_alpha": True}, "lora_alpha is True"),
        ({"rank_pattern": {"query": -1}}, r"rank_pattern\['query'\] is -1"),
        ({"rank_pattern": [1]}, "rank_pattern is no object"),
        ({"rank_pattern": {"(": 3}}, "is no regular expression"),
        ({"bias": "some"}, "bias is 'some'"),
    ],
)
def test_values_that_make_no_sense_are_refused(tmp_path, fields, said):
    model = base()

    with pytest.raises(ConfigValueError, match=said):
        model.load_adapter(changed(tmp_path / "adapter", **fields))

    assert model.active_adapters == []


HEAD = "base_model.model.classifier.weight"
NORM = "base_model.model.bert.embeddings.LayerNorm"
MISFITS = [
    ({f"{QUERY}.lora_A.weight": torch.zeros(3, 14)}, {}, r"factors \[3, 14\] and \[15, 3\], the model needs \[3, 15\]"),
    ({}, {"r": 4}, r"the model needs \[4, 15\] and \[15, 4\]"),
    ({f"{QUERY}.lora_{half}.weight": None for half in "AB"}, {}, "attention.self.query: the adapter has no factors"),
    ({HEAD: torch.zeros(3, 15)}, {}, "config does not say that it is in the file"),
    ({"base_model.model.lm_head.weight": torch.zeros(3)}, {}, "lm_head.weight: the model has no such parameter"),
    ({HEAD: torch.zeros(2, 15)}, {"modules_to_save": ["classifier"]}, r"\[2, 15\], the model needs \[3, 15\]"),
    (
        {f"{NORM}.lora_A.weight": torch.zeros(3, 15), f"{NORM}.lora_B.weight": torch.zeros(15, 3)},
        {},
        "a LayerNorm is not adapted",
    ),
]


@pytest.mark.parametrize(("tensors", "fields", "said"), MISFITS)
def test_tensors_that_do_not_fit_are_refused_and_nothing_changes(tmp_path, tensors, fields, said):
    model = base()
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(CheckpointMismatchError, match=said):
        model.load_adapter(changed(tmp_path / "adapter", tensors=tensors, **fields))

    assert_unchanged(model, before, config)
    assert model.active_adapters == []


def test_an_adapter_of_another_model_is_refused_with_names():
    model = base("opt")
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(CheckpointMismatchError) as caught:
        model.load_adapter(ADAPTERS / "plain")

    assert "bert.encoder.layer.0.attention.self.query: the model has no such module" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12
    assert_unchanged(model, before, config)
    larger = made(BertForSequenceClassification, num_hidden_layers=3, hidden_size=15)
    with pytest.raises(CheckpointMismatchError, match="layer.2.attention.self.query: the adapter has no factors"):
        larger.load_adapter(ADAPTERS / "plain")


def test_broken_and_missing_files_are_named(tmp_path):
    model = base()

    with pytest.raises(CheckpointNotFoundError, match="no directory"):
        model.load_adapter(tmp_path / "nowhere")
    with pytest.raises(CheckpointNotFoundError, match="adapter_config"):
        model.load_adapter(tmp_path)
    shutil.copy(ADAPTERS / "plain" / "adapter_config.json", tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="has no adapter_model.safetensors"):
        model.load_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(CheckpointFormatError):
        model.load_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ConfigFileError):
        model.load_adapter(tmp_path)
    half = changed(tmp_path / "half", tensors={f"{QUERY}.lora_B.weight": None})
    with pytest.raises(CheckpointFormatError, match="one of two factors"):
        model.load_adapter(half)


def test_names_and_values_are_taken_once():
    model = base()
    model.load_adapter(ADAPTERS / "head", "one")
    plain = logits(model)

    with pytest.raises(InputError, match="There is an adapter 'one' already"):
        model.load_adapter(ADAPTERS / "plain", "one")
    with pytest.raises(InputError, match="Another adapter has a value for"):
        model.load_adapter(ADAPTERS / "head", "two")
    with pytest.raises(InputError, match="no adapter 'on'; did you mean 'one'"):
        model.delete_adapter("on")
    with pytest.raises(InputError, match="a name has no dots"):
        model.load_adapter(ADAPTERS / "plain", "a.b")

    assert torch.equal(logits(model), plain)


def test_a_tied_table_is_not_merged(tmp_path):
    tied = made(BertForMaskedLM, hidden_size=15, vocab_size=29)
    words = "base_model.model.bert.embeddings.word_embeddings"
    tensors = load_file(ADAPTERS / "table" / "adapter_model.safetensors")
    shutil.copytree(ADAPTERS / "table", tmp_path / "table")
    save_file(
        {name: one for name, one in tensors.items() if words in name}, tmp_path / "table/adapter_model.safetensors"
    )
    said = json.loads((tmp_path / "table" / "adapter_config.json").read_text()) | {
        "target_modules": ["word_embeddings"]
    }
    (tmp_path / "table" / "adapter_config.json").write_text(json.dumps(said))
    tied.load_adapter(tmp_path / "table")
    before = logits(tied)

    with pytest.raises(InputError, match=r"word_embeddings is tied"):
        tied.merge_adapter()

    assert torch.equal(logits(tied), before)
    assert not tied.adapters["default"].is_merged


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks transformers in a way that will go
def test_peft_itself_reads_what_is_saved(tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    for case in ("plain", "head", "stabilised", "table"):
        model = base(case)
        model.load_adapter(ADAPTERS / case)
        model.save_adapter(tmp_path / case)

        reference = transformers.BertForSequenceClassification.from_pretrained(GOLDEN / "bert_tasks/sequence_odd")
        reference = peft.PeftModel.from_pretrained(reference, tmp_path / case).eval()

        close(logits(model), logits(reference))
