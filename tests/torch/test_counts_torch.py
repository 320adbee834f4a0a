"""Counts, properties, tags and warnings of models; helpers for wrapped models and for types."""

from __future__ import annotations

import logging
import mmap
import sys

import pytest
import torch
from tiny_models import BERT, IDS, made
from torch import nn

from automodels.errors import CheckpointMismatchError, CheckpointNotFoundError, InputError, MissingDependencyError
from torch_heads import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    GPTNeoForCausalLM,
    OPTForCausalLM,
)
from torch_runtime.sharded import load_sharded_checkpoint
from torch_runtime.tensors import (
    get_parameter_device,
    get_parameter_dtype,
    get_state_dict_dtype,
    get_state_dict_float_dtype,
)
from torch_runtime.unwrapping import unwrap_model

TABLES = (31 + 16 + 2) * 12


def test_parameters_are_counted_tied_ones_once():
    model = made(BertForMaskedLM)
    everything = sum(parameter.numel() for parameter in model.parameters())

    assert model.num_parameters() == everything
    assert model.num_parameters(exclude_embeddings=True) == everything - TABLES
    assert made(BertForMaskedLM, tie_word_embeddings=False).num_parameters() == everything + 31 * 12

    model.bert.requires_grad_(False)

    head = 12 * 12 + 12 + 2 * 12 + 31
    assert model.num_parameters(only_trainable=True) == head
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == head


def test_operations_are_six_for_each_token_and_parameter():
    model = made(BertModel)
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}

    assert model.estimate_tokens(inputs) == 10
    assert model.floating_point_ops(inputs) == 6 * 10 * model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops(inputs, exclude_embeddings=False) == 60 * model.num_parameters()
    with pytest.raises(InputError, match="no input_ids"):
        model.estimate_tokens({"pixel_values": IDS})


def test_the_footprint_is_that_of_parameters_and_buffers():
    model = made(BertModel)
    model.register_buffer("seen", torch.zeros(10, dtype=torch.float64))

    assert model.get_memory_footprint() == 4 * model.num_parameters() + 80
    assert model.get_memory_footprint(return_buffers=False) == 4 * model.num_parameters()
    assert model.half().get_memory_footprint(return_buffers=False) == 2 * model.num_parameters()


def test_memory_hooks_count_what_calls_add():
    psutil = pytest.importorskip("psutil")
    model = made(BertModel)
    large = []

    def take(*_):
        large.append(mmap.mmap(-1, 32 << 20))  # from the system: an allocator may have as much left over
        large[0].write(b"1" * (32 << 20))

    model.encoder.layer[0].register_forward_hook(take)
    model.add_memory_hooks()
    model.add_memory_hooks()

    model(IDS)

    assert model.mem_rss_pre_forward > 1_000_000
    assert model.mem_rss_post_forward <= psutil.Process().memory_info().rss * 2
    assert model.mem_rss_diff > 16_000_000
    assert model.mem_rss_diff == model.mem_rss_post_forward - model.mem_rss_pre_forward

    model.reset_memory_hooks_state()

    assert {part.mem_rss_diff for part in model.modules()} == {0}


def test_without_psutil_memory_hooks_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)

    with pytest.raises(MissingDependencyError, match="pip install psutil"):
        made(BertModel).add_memory_hooks()


def test_a_model_tells_its_device_type_backbone_and_inputs():
    model = made(BertForSequenceClassification)

    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.bfloat16().dtype == torch.bfloat16
    assert model.base_model is model.bert
    assert model.bert.base_model is model.bert
    assert model(**model.dummy_inputs).logits.shape == (3, 2)
    assert model.framework == "torch"


def test_a_model_tells_which_checkpoint_its_config_is_from(tmp_path):
    made(BertModel).save_pretrained(tmp_path / "model")

    assert BertModel.from_pretrained(tmp_path / "model").name_or_path == str(tmp_path / "model")
    assert made(BertModel).name_or_path == ""


@pytest.mark.parametrize("ids", [[[5, 6, 0]], [[0, 5, 6]]])
def test_padding_without_a_mask_is_warned_of_once(caplog, ids):
    model = made(BertForMaskedLM)

    with caplog.at_level(logging.WARNING, "automodels"):
        for _ in range(3):
            model(torch.tensor(ids))

    assert caplog.text.count("padding is read as text") == 1
    assert "token 0" in caplog.text


@pytest.mark.parametrize(
    ("ids", "mask"), [([[5, 0, 6]], None), ([[5, 6, 0]], [[1, 1, 0]]), ([[5, 6, 0]], [[1, 1, 1]]), ([[5]], None)]
)
def test_nothing_is_said_where_a_mask_is_given_or_no_padding_is_seen(caplog, ids, mask):
    model = made(BertModel)

    with caplog.at_level(logging.WARNING, "automodels"):
        model(torch.tensor(ids), None if mask is None else torch.tensor(mask))

    assert caplog.text == ""


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_that_ended_while_others_are_generated_are_not_taken_for_padding(caplog, beams, use_cache):
    model = made(BertLMHeadModel, is_decoder=True)
    options = {"num_beams": beams, "use_cache": use_cache, "max_new_tokens": 8}

    with caplog.at_level(logging.WARNING, "automodels"):
        found = model.generate(IDS, stopping_criteria=[lambda ids, scores: ids[:, 1] == IDS[0, 1]], **options)

    assert found[0, 6:].tolist() == [0] * 7  # filled with padding
    assert found.shape == (2, 13)
    assert caplog.text == ""


@pytest.mark.parametrize("model_class", [OPTForCausalLM, GPTNeoForCausalLM])
def test_decoders_are_silent_about_padding_as_in_transformers(caplog, model_class):
    with caplog.at_level(logging.WARNING, "automodels"):
        made(model_class, pad_token_id=0)(torch.tensor([[0, 5, 6]]))

    assert caplog.text == ""


def test_each_model_warns_of_padding_for_itself(caplog):
    models = [made(BertModel), made(BertForMaskedLM)]

    with caplog.at_level(logging.WARNING, "automodels"):
        for model in [*models, *models]:
            model(torch.tensor([[5, 0]]))

    assert caplog.text.count("padding is read as text") == 2


def test_a_padding_token_that_means_something_else_too_is_said(caplog):
    model = made(BertModel, eos_token_id=0)

    with caplog.at_level(logging.WARNING, "automodels"):
        model(torch.tensor([[5, 0]]))

    assert "0 is also its eos token" in caplog.text


def test_wrappers_are_taken_off():
    model = made(BertModel)

    assert unwrap_model(model) is model
    assert unwrap_model(nn.DataParallel(model)) is model
    assert unwrap_model(torch.compile(nn.DataParallel(model), backend="eager")) is model
    whole = nn.Sequential(nn.DataParallel(model), torch.compile(nn.Linear(2, 2), backend="eager"))
    linear = whole[1]._orig_mod
    assert unwrap_model(whole) is whole
    assert isinstance(whole[0], nn.DataParallel)
    unwrap_model(whole, recursive=True)
    assert list(whole) == [model, linear]


def test_a_model_that_is_distributed_is_unwrapped():
    import torch.distributed as distributed

    if not distributed.is_available():
        pytest.skip("torch was built without distribution")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Linear(2, 2)
        assert unwrap_model(nn.parallel.DistributedDataParallel(model)) is model
    finally:
        distributed.destroy_process_group()


def test_types_are_those_of_the_first_floating_tensor():
    whole, half = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float16)
    module = nn.Module()
    module.register_buffer("ids", whole)

    assert get_parameter_dtype(module) == torch.int64
    module.register_buffer("numbers", half)
    assert get_parameter_dtype(module) == torch.float16
    assert get_parameter_dtype(nn.Module()) == torch.get_default_dtype()
    assert get_parameter_device(module) == torch.device("cpu")
    assert get_parameter_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert get_state_dict_dtype({"a": whole, "b": half}) == torch.float16
    assert get_state_dict_dtype({"a": whole}) == torch.int64
    assert get_state_dict_float_dtype({"a": whole, "b": half}) == torch.float16
    with pytest.raises(InputError, match="no floating-point tensor"):
        get_state_dict_float_dtype({"a": whole})


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
