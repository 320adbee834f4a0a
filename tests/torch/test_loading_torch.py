"""from_pretrained: what it allocates, copies, casts and draws, and what it refuses."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import BERT, IDS, made

import automodels
from automodels.checkpoint.writer import save_tensors
from automodels.errors import (
    BackendUnavailableError,
    CheckpointMismatchError,
    CheckpointNotFoundError,
    InputError,
    UnknownArgumentError,
)
from torch_heads import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel, OPTForCausalLM


@pytest.fixture
def saved(tmp_path):
    """A BERT backbone's checkpoint, and the model."""
    model = made(BertModel)
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model", model


def same(model, other) -> None:
    """Both compute the same, bit by bit."""
    with torch.no_grad():
        assert torch.equal(model(IDS)[0], other(IDS)[0])


def test_the_registry_finds_the_class_and_the_model_computes_what_was_saved(saved):
    folder, model = saved

    loaded = automodels.AutoModel.from_pretrained(folder, framework="torch")

    assert type(loaded) is BertModel
    assert not loaded.training
    assert loaded.load_report.plugin.startswith("torch-heads")
    same(loaded, model)


def test_loading_draws_no_values_that_the_checkpoint_has(saved, monkeypatch):
    folder, model = saved
    drawn = []
    monkeypatch.setattr(BertModel, "_init_weights", lambda _, module: drawn.append(module))
    before = torch.get_rng_state()

    loaded = BertModel.from_pretrained(folder)

    assert drawn == []
    assert torch.equal(torch.get_rng_state(), before)
    same(loaded, model)


def test_parameters_lie_in_the_mapped_file_until_they_are_changed(saved):
    folder, _ = saved
    content = (folder / "model.safetensors").read_bytes()

    loaded = BertModel.from_pretrained(folder)

    maps = mapped_ranges(folder / "model.safetensors")
    assert maps
    for name, parameter in loaded.named_parameters():
        assert any(low <= parameter.data_ptr() < high for low, high in maps), name
    assert loaded.load_report.cast == ()

    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.fill_(7.0)

    assert (folder / "model.safetensors").read_bytes() == content
    same(BertModel.from_pretrained(folder), made(BertModel))


def mapped_ranges(path) -> list[tuple[int, int]]:
    """Addresses at which this process has mapped a file."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        pytest.skip("the system does not say what is mapped")
    found = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [(int(low, 16), int(high, 16)) for low, high in found]


def test_a_checkpoint_that_is_not_cast_takes_no_memory_of_its_own(tmp_path):
    config = BertConfig(**{**BERT, "vocab_size": 200_000, "hidden_size": 48})
    size = 200_000 * 48 * 4
    BertModel(config).save_pretrained(tmp_path / "large")
    anonymous_bytes()
    before = anonymous_bytes()

    loaded = BertModel.from_pretrained(tmp_path / "large")

    assert anonymous_bytes() - before < size / 4
    assert loaded.num_parameters() * 4 > size


def anonymous_bytes() -> int:
    """Memory of this process that no file holds."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        pytest.skip("the system does not say what memory is anonymous")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("auto", torch.bfloat16), (torch.float16, torch.float16), ("float64", torch.float64), (None, torch.float32)],
)
def test_parameters_have_the_type_that_is_asked_for_or_auto_that_of_the_checkpoint(tmp_path, asked, expected):
    made(BertModel).bfloat16().save_pretrained(tmp_path / "half")
    options = {} if asked is None else {"dtype": asked}

    loaded = BertModel.from_pretrained(tmp_path / "half", **options)
    other = BertModel.from_pretrained(tmp_path / "half", **({} if asked is None else {"torch_dtype": asked}))

    assert {parameter.dtype for parameter in loaded.parameters()} == {expected} == {other.dtype}
    assert torch.get_default_dtype() == torch.float32
    assert len(loaded.load_report.cast) == (0 if expected == torch.bfloat16 else len(dict(loaded.named_parameters())))


def test_auto_takes_the_type_of_the_tensors_where_the_config_names_none(tmp_path):
    made(BertModel).half().save_pretrained(tmp_path / "half")
    config = BertConfig(**BERT)
    (tmp_path / "half" / "config.json").write_text(config.to_json_string())

    assert BertModel.from_pretrained(tmp_path / "half", dtype="auto").dtype == torch.float16


@pytest.mark.parametrize("dtype", ["int8", torch.int32, "float3", 5])
def test_what_is_no_floating_type_is_refused(saved, dtype):
    with pytest.raises(InputError, match="not a floating-point type"):
        BertModel.from_pretrained(saved[0], dtype=dtype)


def test_a_new_head_is_drawn_and_named_in_a_warning(saved, caplog):
    folder, model = saved

    with caplog.at_level(logging.WARNING, "automodels"):
        loaded = BertForSequenceClassification.from_pretrained(folder, initializer_range=0.5)

    assert "classifier.weight, classifier.bias are fresh" in caplog.text
    assert torch.equal(loaded.bert.pooler.dense.weight, model.pooler.dense.weight)
    assert 0.1 < loaded.classifier.weight.std() < 1.5
    assert not loaded.classifier.bias.any()
    assert set(loaded.load_report.missing) == {"classifier.weight", "classifier.bias"}


def test_strict_refuses_a_new_head_and_leftovers(saved, tmp_path):
    with pytest.raises(CheckpointMismatchError, match="missing: classifier.weight"):
        BertForSequenceClassification.from_pretrained(saved[0], strict=True)

    made(BertForMaskedLM).save_pretrained(tmp_path / "masked")
    with pytest.raises(CheckpointMismatchError, match="left over: cls"):
        BertModel.from_pretrained(tmp_path / "masked", strict=True)


def test_another_shape_is_refused_before_anything_is_allocated_or_drawn_afresh_where_that_is_allowed(saved):
    folder, _ = saved

    with pytest.raises(CheckpointMismatchError, match="ignore_mismatched_sizes=True"):
        BertModel.from_pretrained(folder, vocab_size=32)

    loaded = BertModel.from_pretrained(folder, vocab_size=32, ignore_mismatched_sizes=True)
    assert loaded.load_report.mismatched == ("embeddings.word_embeddings.weight",)
    assert loaded(torch.tensor([[31]]))[0].isfinite().all()


def test_shards_torch_zips_and_variants_are_read(saved, tmp_path):
    folder, model = saved
    model.save_pretrained(tmp_path / "shards", max_shard_size=2000)
    model.save_pretrained(tmp_path / "variant", variant="fp16")
    (tmp_path / "zip").mkdir()
    torch.save(model.state_dict(), tmp_path / "zip" / "pytorch_model.bin")
    (tmp_path / "zip" / "config.json").write_bytes((folder / "config.json").read_bytes())

    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    same(BertModel.from_pretrained(tmp_path / "shards", strict=True), model)
    same(BertModel.from_pretrained(tmp_path / "variant", variant="fp16", strict=True), model)
    same(BertModel.from_pretrained(tmp_path / "zip", strict=True), model)
    with pytest.raises(CheckpointNotFoundError):
        BertModel.from_pretrained(tmp_path / "variant")
    with pytest.raises(CheckpointNotFoundError):
        BertModel.from_pretrained(tmp_path / "zip", use_safetensors=True)


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertForSequenceClassification, OPTForCausalLM])
@pytest.mark.parametrize("form", ["msgpack", "safetensors"])
def test_a_checkpoint_with_flax_names_is_read(tmp_path, model_class, form):
    model = made(model_class)
    save_flax(tmp_path / "flax", model, form)

    loaded = model_class.from_pretrained(tmp_path / "flax", strict=True)

    for name, parameter in model.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], parameter), name
    same(loaded, model)
    loaded.save_pretrained(tmp_path / "hub")
    assert load_file(tmp_path / "hub" / "model.safetensors").keys() >= set(dict(model.named_parameters()))


def save_flax(folder, model, form) -> None:
    """The model as transformers' Flax classes save theirs: kernels transposed, and their own names of weights."""
    tensors = {}
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            value = parameter.detach().numpy()
            if isinstance(module, torch.nn.Linear) and name == "weight":
                name, value = "kernel", value.T
            elif name == "weight":
                name = "embedding" if isinstance(module, torch.nn.Embedding) else "scale"
            tensors[f"{path}.{name}"] = np.ascontiguousarray(value)
    tied = [name for name in tensors if name.endswith(("lm_head.kernel", "predictions.decoder.kernel", "decoder.bias"))]
    for name in tied if model.config.tie_word_embeddings else ():
        del tensors[name]
    files = {"config.json": model.config.to_json_string().encode()}
    save_tensors(folder, tensors, format=form, naming="flax", files=files)


def test_a_flax_checkpoint_goes_to_disk_transposed(tmp_path):
    pytest.importorskip("accelerate")
    model = made(BertModel)
    save_flax(tmp_path / "flax", model, "safetensors")

    loaded = BertModel.from_pretrained(
        tmp_path / "flax", device_map={"": "cpu", "encoder": "disk"}, offload_folder=tmp_path / "far"
    )

    same(loaded, model)


def test_options_that_mean_the_same_may_not_contradict_each_other(saved):
    folder, model = saved

    eager = BertModel.from_pretrained(folder, attn_implementation="eager")
    assert eager.backend_report.name == "eager"
    assert (
        BertModel.from_pretrained(folder, backend="eager", attn_implementation="eager").backend_report.name == "eager"
    )
    torch.testing.assert_close(eager(IDS)[0], model(IDS)[0], atol=1e-6, rtol=1e-6)
    with pytest.raises(InputError, match="backend is 'sdpa' and attn_implementation is 'eager'"):
        BertModel.from_pretrained(folder, backend="sdpa", attn_implementation="eager")
    with pytest.raises(BackendUnavailableError, match="flash"):
        BertModel.from_pretrained(folder, backend="flash")
    with pytest.raises(UnknownArgumentError, match="device_map"):
        BertModel.from_pretrained(folder, device_mapp="cpu")


def test_an_untouched_part_of_the_file_is_not_needed(tmp_path):
    model = made(BertModel)
    model.save_pretrained(tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    save_file({**tensors, "cls.other": torch.zeros(3)}, tmp_path / "model" / "model.safetensors")

    loaded = BertModel.from_pretrained(tmp_path / "model")

    assert loaded.load_report.unexpected == ("cls.other",)
    same(loaded, model)
