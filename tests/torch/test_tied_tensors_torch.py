"""A checkpoint with both tensors of tied parameters: they are the same, or it is not loaded as tied."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointMismatchError
from torch_heads import BertForMaskedLM, GPTNeoForCausalLM, OPTForCausalLM

SIZES = {"vocab_size": 11, "hidden_size": 8, "max_position_embeddings": 9}
LAYERS = {"num_hidden_layers": 1, "num_attention_heads": 2}
NEO = {"num_layers": 1, "num_heads": 2, "attention_types": [(["global"], 1)]}
BERT_HEAD = "cls.predictions.decoder"
BERT_SECONDS = {
    f"{BERT_HEAD}.weight": "bert.embeddings.word_embeddings.weight",
    f"{BERT_HEAD}.bias": "cls.predictions.bias",
}
FAMILIES = {
    "bert": (BertForMaskedLM, {**LAYERS, "intermediate_size": 12}, BERT_SECONDS),
    "opt": (OPTForCausalLM, {**LAYERS, "ffn_dim": 12}, {"lm_head.weight": "model.decoder.embed_tokens.weight"}),
    "gpt_neo": (GPTNeoForCausalLM, NEO, {"lm_head.weight": "transformer.wte.weight"}),
}


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    """(class, directory of a tied model, how to store second tensors in it, which are the second of what)."""
    kind, fields, seconds = FAMILIES[request.param]
    kind(kind.config_class(**SIZES, **fields)).save_pretrained(tmp_path)

    def store(change):
        tensors = {name: np.array(view.numpy()) for name, view in Checkpoint.open(tmp_path).items()}
        more = {second: change(tensors[first]) for second, first in seconds.items()}
        files = {"config.json": (tmp_path / "config.json").read_bytes()}
        save_tensors(tmp_path, {**tensors, **more}, files=files)

    return kind, tmp_path, store, seconds


def test_tied_tensors_that_differ_are_refused_by_name(family):
    kind, directory, store, seconds = family
    store(lambda first: first + 1)

    with pytest.raises(CheckpointMismatchError, match="hold different values") as caught:
        kind.from_pretrained(directory)

    assert sorted(caught.value.trace) == sorted(f"different: {one} and {other}" for one, other in seconds.items())
    assert "tie_word_embeddings=False" in str(caught.value)


def test_with_the_argument_that_the_error_names_each_tensor_is_loaded_in_its_place(family):
    kind, directory, store, seconds = family
    store(lambda first: first + 1)

    model = kind.from_pretrained(directory, tie_word_embeddings=False)

    stored, loaded = Checkpoint.open(directory), model.state_dict()
    assert model.load_report.missing == ()
    for second in seconds:
        np.testing.assert_array_equal(loaded[second].numpy(), stored[second].numpy())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_tied_tensors_that_are_the_same_load_whatever_the_type_of_the_second(family, dtype):
    kind, directory, store, seconds = family
    store(lambda first: first.astype(dtype))

    model = kind.from_pretrained(directory, strict=True)

    assert set(model.load_report.tied) == set(seconds)


def test_a_state_dict_is_held_to_the_same(family):
    kind, directory, _, seconds = family
    model = kind.from_pretrained(directory)
    tied = model.state_dict()
    apart = {name: tensor + 1 if name in seconds else tensor for name, tensor in tied.items()}

    again = kind.from_pretrained(None, config=model.config, state_dict=tied, strict=True)

    assert set(again.load_report.tied) == set(seconds)
    assert all(torch.equal(tensor, tied[name]) for name, tensor in again.state_dict().items())
    with pytest.raises(CheckpointMismatchError, match="hold different values"):
        kind.from_pretrained(None, config=model.config, state_dict=apart)


def test_a_flax_file_with_a_head_of_other_values_is_refused_too(family, tmp_path):
    kind, directory, _, seconds = family
    tensors = {name: view.numpy() for name, view in Checkpoint.open(directory).items()}
    (second, first), *_ = seconds.items()
    head = np.ascontiguousarray(tensors[first].T)
    flax = {"lm_head.kernel" if second == "lm_head.weight" else f"{BERT_HEAD}.kernel": head}
    model = kind.from_pretrained(directory)
    rows = model._flax_keymap()
    for name, tensor in tensors.items():
        relative = name.removeprefix(f"{model.base_model_prefix}.")
        spelled, layout = rows.tensor(relative)
        place = f"{model.base_model_prefix}.{spelled}" if relative != name else spelled
        flax[place] = np.ascontiguousarray(tensor.T) if layout.value == "transposed" else tensor
    files = {"config.json": (directory / "config.json").read_bytes()}
    options = {"files": files, "naming": "flax"}
    save_tensors(tmp_path / "same", flax, **options)
    flax = {name: tensor + 1 if tensor is head else tensor for name, tensor in flax.items()}
    save_tensors(tmp_path / "apart", flax, **options)

    assert kind.from_pretrained(tmp_path / "same").load_report.missing == ()
    with pytest.raises(CheckpointMismatchError, match="kernel and .*embedding hold different values"):
        kind.from_pretrained(tmp_path / "apart")
