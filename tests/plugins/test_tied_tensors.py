"""A checkpoint with both tensors of tied parameters: they are the same, or it is not loaded as tied."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointMismatchError
from flax_bert import FlaxBertForMaskedLM
from flax_gptneo import FlaxGPTNeoForCausalLM
from flax_opt import FlaxOPTForCausalLM, FlaxOPTModel

SIZES = {"vocab_size": 11, "hidden_size": 8, "max_position_embeddings": 9}
LAYERS = {"num_hidden_layers": 1, "num_attention_heads": 2}
NEO = {"num_layers": 1, "num_heads": 2, "attention_types": [(["global"], 1)]}
BERT_HEAD = "cls.predictions.decoder"
BERT = (FlaxBertForMaskedLM, {**LAYERS, "intermediate_size": 12}, "bert.embeddings.word_embeddings.weight")
OPT = (FlaxOPTForCausalLM, {**LAYERS, "ffn_dim": 12}, "model.decoder.embed_tokens.weight")
FAMILIES = {
    "bert": (*BERT, {f"{BERT_HEAD}.weight": BERT[2], f"{BERT_HEAD}.bias": "cls.predictions.bias"}),
    "opt": (*OPT, {"lm_head.weight": OPT[2]}),
    "gpt_neo": (FlaxGPTNeoForCausalLM, NEO, "transformer.wte.weight", {"lm_head.weight": "transformer.wte.weight"}),
}


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    """(class, directory of a tied model, how to store second tensors in it, which are the second of what)."""
    kind, fields, _, seconds = FAMILIES[request.param]
    kind(kind.config_class(**SIZES, **fields), seed=1).save_pretrained(tmp_path)

    def store(change):
        tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(tmp_path).items()}
        more = {second: change(tensors[first]) for second, first in seconds.items()}
        files = {"config.json": (tmp_path / "config.json").read_bytes()}
        save_tensors(tmp_path, {**tensors, **more}, files=files)

    return kind, tmp_path, store, seconds


@pytest.mark.parametrize("strict", [True, False])
def test_tied_tensors_that_differ_are_refused_by_name(family, strict):
    kind, directory, store, seconds = family
    store(lambda first: first + 1)

    with pytest.raises(CheckpointMismatchError, match="hold different values") as caught:
        kind.from_pretrained(directory, strict=strict)

    assert sorted(caught.value.trace) == sorted(f"different: {one} and {other}" for one, other in seconds.items())
    assert caught.value.hints == (
        "Pass tie_word_embeddings=False to load each in its place, or set it in config.json.",
    )  # fmt: skip


def test_with_the_argument_that_the_error_names_each_tensor_is_loaded_in_its_place(family):
    kind, directory, store, seconds = family
    store(lambda first: first + 1)

    model = kind.from_pretrained(directory, tie_word_embeddings=False)

    assert model.load_report.missing == ()
    assert {name for name in seconds if name in model.load_report.tied} == set()
    again = directory / "again"
    model.save_pretrained(again)
    saved, stored = Checkpoint.open(again), Checkpoint.open(directory)
    for second in seconds:
        np.testing.assert_array_equal(saved[second].numpy(), stored[second].numpy())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tied_tensors_that_are_the_same_load_whatever_the_type_of_the_second(family, dtype):
    kind, directory, store, seconds = family
    store(lambda first: first.astype(dtype))

    model = kind.from_pretrained(directory, strict=True)

    assert set(model.load_report.tied) == set(seconds)


def test_a_model_without_the_head_leaves_a_head_of_other_values_over(tmp_path, caplog):
    kind, fields, first, _ = FAMILIES["opt"]
    kind(kind.config_class(**SIZES, **fields)).save_pretrained(tmp_path)
    tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(tmp_path).items()}
    tensors["lm_head.weight"] = tensors[first] + 1
    save_tensors(tmp_path, tensors, files={"config.json": (tmp_path / "config.json").read_bytes()})

    with caplog.at_level(logging.WARNING, "automodels"):
        model = FlaxOPTModel.from_pretrained(tmp_path)

    assert (model.load_report.unexpected, model.load_report.tied) == (("lm_head.weight",), ())
    assert "different values" not in caplog.text
    with pytest.raises(CheckpointMismatchError, match="has one place for both"):
        FlaxOPTModel.from_pretrained(tmp_path, strict=True)


def test_a_flax_file_with_a_head_of_other_values_is_refused_too(tmp_path):
    kind, fields, _, _ = FAMILIES["gpt_neo"]
    untied = kind(kind.config_class(**SIZES, **fields, tie_word_embeddings=False))
    untied.save_pretrained(tmp_path, safe_serialization=False)

    with pytest.raises(
        CheckpointMismatchError, match=r"lm_head\.kernel and transformer\.wte\.embedding hold different"
    ):
        kind.from_pretrained(tmp_path, tie_word_embeddings=True)

    assert kind.from_pretrained(tmp_path, strict=True).load_report.tied == ()
