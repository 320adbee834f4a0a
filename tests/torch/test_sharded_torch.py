"""Checkpoints, in shards or not, that fill a module which is there."""

from __future__ import annotations

import pytest
import torch
from tiny_models import BERT, IDS, made
from torch import nn

from automodels.errors import CheckpointMismatchError, CheckpointNotFoundError, InputError
from torch_heads import BertConfig, BertForMaskedLM, BertForSequenceClassification
from torch_runtime.sharded import load_sharded_checkpoint


@pytest.fixture
def shards(tmp_path):
    """A sharded checkpoint of a model whose head is tied, and the model."""
    model = made(BertForMaskedLM)
    model.save_pretrained(tmp_path / "shards", max_shard_size=3000)
    return tmp_path / "shards", model


def test_a_sharded_checkpoint_fills_a_model_that_is_there(shards):
    folder, model = shards
    other = BertForMaskedLM(BertConfig(**BERT)).eval()
    parameters = dict(other.named_parameters())

    keys = load_sharded_checkpoint(other, folder)

    assert keys.missing_keys == keys.unexpected_keys == []
    assert all(parameter is parameters[name] for name, parameter in other.named_parameters())
    assert torch.equal(other(IDS).logits, model(IDS).logits)


def test_any_module_is_filled_and_types_are_cast(tmp_path):
    module, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3).double()
    module.running_mean += 5
    torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")

    assert load_sharded_checkpoint(other, tmp_path) == ([], [])

    assert other.running_mean.dtype == torch.float64
    assert other.running_mean.tolist() == [5, 5, 5]


def test_without_strict_what_does_not_fit_is_reported(shards):
    folder, model = shards
    other = made(BertForSequenceClassification)
    before = other.classifier.weight.detach().clone()

    keys = load_sharded_checkpoint(other, folder, strict=False)

    assert keys.missing_keys == [
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"
    ]  # fmt: skip
    assert "cls.predictions.bias" in keys.unexpected_keys
    assert torch.equal(other.classifier.weight, before)
    assert torch.equal(other.bert.embeddings.LayerNorm.bias, model.bert.embeddings.LayerNorm.bias)


def test_a_checkpoint_that_does_not_fit_changes_nothing(shards, tmp_path):
    folder, _ = shards
    other = made(BertForSequenceClassification)
    before = {name: parameter.detach().clone() for name, parameter in other.named_parameters()}

    with pytest.raises(CheckpointMismatchError, match=r"missing: bert.pooler.dense.weight"):
        load_sharded_checkpoint(other, folder)
    with pytest.raises(
        CheckpointMismatchError, match=r"of another shape: .*word_embeddings.weight \[31, 12\], here \[40, 12\]"
    ):
        load_sharded_checkpoint(made(BertForMaskedLM, vocab_size=40), folder, strict=False)
    with pytest.raises(CheckpointNotFoundError):
        load_sharded_checkpoint(other, tmp_path)

    assert all(torch.equal(parameter, before[name]) for name, parameter in other.named_parameters())


def test_either_format_can_be_preferred(tmp_path):
    new, old = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save(old.state_dict(), tmp_path / "pytorch_model.bin")
    from safetensors.torch import save_file

    save_file(new.state_dict(), tmp_path / "model.safetensors")
    module = nn.Linear(2, 2)

    load_sharded_checkpoint(module, tmp_path)
    assert torch.equal(module.weight, new.weight)

    load_sharded_checkpoint(module, tmp_path, prefer_safe=False)
    assert torch.equal(module.weight, old.weight)


def test_a_module_without_memory_is_not_filled(shards):
    with torch.device("meta"):
        other = BertForMaskedLM(BertConfig(**BERT))

    with pytest.raises(InputError, match="has no memory here"):
        load_sharded_checkpoint(other, shards[0])
