"""Saving tensors: what is written is read back bit by bit, aligned, under the Hub's names."""

from __future__ import annotations

import json
import os
import weakref
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME
from automodels.checkpoint.provenance import file_metadata, provenance
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.writer import save_tensors
from automodels.errors import InputError
from automodels.plugins.entries import Plugin


@pytest.fixture(autouse=True)
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    path.mkdir()
    return path


def arrays(count: int = 6, size: int = 16) -> dict[str, np.ndarray]:
    return {f"layer.{number}.weight": np.full(size, number, np.float32) for number in range(count)}


def same(found: Checkpoint, wanted: dict[str, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all(
        (view.dtype, view.shape, view.numpy().tobytes())
        == (wanted[name].dtype.newbyteorder("<"), wanted[name].shape, np.ascontiguousarray(wanted[name]).astype(
            wanted[name].dtype.newbyteorder("<")).tobytes())
        for name, view in found.items()
    )  # fmt: skip


@pytest.mark.parametrize("name", BY_SAFETENSORS_NAME)
@pytest.mark.parametrize("form", ["safetensors", "msgpack"])
def test_every_type_comes_back_bit_by_bit(directory, name, form):
    bits = np.arange(96, dtype=np.uint8) % (2 if name == "BOOL" else 251)
    wanted = {"a": bits.view(BY_SAFETENSORS_NAME[name]).reshape(2, -1)}

    save_tensors(directory, wanted, format=form)

    assert same(Checkpoint.open(directory), wanted)


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5, np.float32),
        np.zeros((0, 3), np.int8),
        np.arange(12, dtype=np.int16).reshape(3, 4).T,
        np.arange(24, dtype=np.int64)[::-2],
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        np.broadcast_to(np.float32(1), (3, 5)),
        np.ones((1,) * 32, ml_dtypes.bfloat16),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "msgpack"])
def test_arrays_that_lie_otherwise_are_written_row_by_row_and_little_endian(directory, array, form):
    save_tensors(directory, {"a": array}, format=form)

    assert same(Checkpoint.open(directory), {"a": array})


def test_shards_have_the_names_and_the_index_of_the_hub(directory):
    report = save_tensors(directory, arrays(), max_shard_size=128, files={"config.json": b"{}"})

    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert report.files == ("config.json", *shards, "model.safetensors.index.json")
    assert sorted(os.listdir(directory)) == sorted(report.files)
    assert json.loads((directory / "model.safetensors.index.json").read_text()) == {
        "metadata": {"total_size": 384},
        "weight_map": {f"layer.{number}.weight": shards[number // 2] for number in range(6)},
    }
    assert (report.tensors, report.total_size, report.unaligned) == (6, 384, ())
    assert report.written == sum(path.stat().st_size for path in directory.iterdir())
    assert same(Checkpoint.open(directory), arrays())


def test_msgpack_is_nested_and_sharded_as_transformers_does_it(directory):
    tree = {f"layer.{number}.kernel": np.full(8, number, np.float32) for number in range(4)}

    report = save_tensors(directory, tree, format="msgpack", naming="flax", max_shard_size=64)

    assert report.files == (
        "flax_model-00001-of-00002.msgpack", "flax_model-00002-of-00002.msgpack", "flax_model.msgpack.index.json",
    )  # fmt: skip
    index = json.loads((directory / report.files[-1]).read_text())
    assert index["weight_map"]["layer/0/kernel"] == report.files[0]
    assert same(Checkpoint.open(directory), tree)


def test_a_save_replaces_the_weights_of_every_format_and_leaves_other_variants_and_other_files(directory):
    others = ["README.md", "adapter_model.safetensors", "model.fp16.safetensors", "tf_model.h5", "vocab.txt"]
    stale = ["flax_model.msgpack", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json",
             "model-00001-of-00002.safetensors", "model.safetensors.index.json"]  # fmt: skip
    for name in others + stale:
        (directory / name).write_text("there before")

    report = save_tensors(directory, arrays())

    assert set(report.removed) == set(stale)
    assert sorted(os.listdir(directory)) == sorted([*others, "model.safetensors"])


def test_variants_lie_side_by_side(directory):
    half = {name: array.astype(np.float16) for name, array in arrays().items()}
    save_tensors(directory, arrays())

    report = save_tensors(directory, half, variant="fp16", max_shard_size=64)

    assert report.files[0] == "model.fp16-00001-of-00003.safetensors"
    assert report.files[-1] == "model.safetensors.index.fp16.json"
    assert same(Checkpoint.open(directory), arrays())
    assert same(Checkpoint.open(directory, variant="fp16"), half)


SHAPES = st.dictionaries(
    st.text("ab.", min_size=1, max_size=5),
    st.tuples(st.sampled_from([np.int8, np.float16, np.float32, np.float64]), st.integers(0, 70)),
    max_size=8,
)


@settings(max_examples=50, deadline=None)
@given(SHAPES, st.integers(1, 600))
def test_data_starts_on_64_bytes_and_only_tensors_of_other_sizes_can_be_unaligned(tmp_path_factory, shapes, size):
    directory = tmp_path_factory.mktemp("aligned")
    wanted = {name: np.full(length, 1, kind) for name, (kind, length) in shapes.items()}

    report = save_tensors(directory, wanted, max_shard_size=size)

    found = Checkpoint.open(directory)
    assert same(found, wanted)
    assert set(report.unaligned) == {name for name, view in found.items() if view.start % 64}
    for name, view in found.items():
        assert view.start % view.dtype.itemsize == 0
        assert view.start % 64 == 0 or view.nbytes % 64, name


def test_the_header_says_who_wrote_it_and_in_whose_names(directory):
    plugin = Plugin(name="flax-opt", version="1.2", location="", editable=False, manifest=None)

    save_tensors(directory / "hub", arrays(), metadata=file_metadata(plugin))
    save_tensors(directory / "flax", arrays(), naming="flax")

    metadata = Checkpoint.open(directory / "hub").metadata
    assert metadata["format"] == "pt"
    assert (metadata["automodels_plugin"], metadata["automodels_plugin_version"]) == ("flax-opt", "1.2")
    assert metadata["automodels_plugin_api"] == provenance(plugin)["plugin_api"]
    assert metadata["automodels_version"]
    assert Checkpoint.open(directory / "flax").metadata["format"] == "flax"


def test_tied_tensors_are_stored_once_and_noted(directory):
    wanted = arrays(2)

    report = save_tensors(directory, {**wanted, "tied": wanted["layer.0.weight"]}, tied={"tied": "layer.0.weight"})

    assert report.total_size == 128
    assert Checkpoint.open(directory).metadata["tied"] == "layer.0.weight"
    assert same(Checkpoint.open(directory), wanted)


def test_tensors_of_one_storage_lie_in_one_shard(directory):
    shared = {"layer.0.weight": 7, "layer.5.weight": 7}

    save_tensors(directory, arrays(), max_shard_size=128, storages=shared)

    index = json.loads((directory / "model.safetensors.index.json").read_text())["weight_map"]
    assert index["layer.0.weight"] == index["layer.5.weight"] != index["layer.1.weight"]


def test_one_tensor_at_a_time_is_in_memory_and_each_is_read_once(directory):
    alive: list[weakref.ref] = []
    most = 0

    def read() -> np.ndarray:
        nonlocal most
        array = np.ones(1 << 16, np.uint8)
        alive.append(weakref.ref(array))
        most = max(most, sum(reference() is not None for reference in alive))
        return array

    source = LazyTensor(np.dtype(np.uint8), (1 << 16,), read)
    for form in ("safetensors", "msgpack"):
        alive.clear()
        save_tensors(directory, {f"{number}": source for number in range(5)}, format=form, max_shard_size="150kB")
        assert len(alive) == 5

    assert most == 1


def test_an_array_above_a_gibibyte_is_chunked_as_flax_does_it(directory, monkeypatch):
    monkeypatch.setattr("automodels.checkpoint.msgpack_writing.CHUNK_BYTES", 64)
    wanted = {"a.b": np.arange(50, dtype=np.float32).reshape(5, 10), "a.c": np.arange(16, dtype=np.float32)}

    save_tensors(directory, wanted, format="msgpack")

    assert b"__msgpack_chunked_array__" in (directory / "flax_model.msgpack").read_bytes()
    assert same(Checkpoint.open(directory), wanted)


@pytest.mark.parametrize(
    ("tensors", "options", "said"),
    [
        ({"a\n": np.zeros(1)}, {}, r"1 tensors have a name that cannot be read back: 'a\\n'"),
        ({"": np.zeros(1)}, {}, "cannot be read back"),
        ({"__metadata__": np.zeros(1)}, {}, "cannot be read back"),
        ({"a": np.zeros(1, complex)}, {}, r"a type that safetensors does not know: a \(complex128\)"),
        ({"a": np.array(["x"])}, {"format": "msgpack"}, "a type that msgpack does not know"),
        ({"a": np.array([None])}, {}, r"a \(object\)"),
        ({"a": np.zeros(1), "a.b": np.zeros(1)}, {"format": "msgpack"}, "'a.b' lies below a name that is a tensor"),
        ({"a": np.zeros(1)}, {"format": "pickle"}, "format is 'pickle'; it can be safetensors or msgpack"),
        ({"a": np.zeros(1)}, {"naming": "torch"}, "naming is 'torch'; it can be hub or flax"),
        ({"a": np.zeros(1)}, {"max_shard_size": "big"}, "'big' is no size"),
        ({"a": np.zeros(1)}, {"variant": "../x"}, "cannot be a variant"),
        ({"a": np.zeros(1)}, {"files": {"../x": b""}}, "plain names"),
        ({"a": np.zeros(1)}, {"files": {"model.safetensors": b""}}, "not those of weight files"),
        ({"a": np.zeros(1)}, {"tied": {"b": "c"}}, "tied to others that are not saved: 'b' to 'c'"),
        ({"a": LazyTensor(np.dtype("f4"), (2,), lambda: np.zeros(3, "f4"))}, {}, r"announced as .* \[2\] and came as"),
        ({"a": LazyTensor(np.dtype("f4"), (2,), lambda: np.zeros(2))}, {}, "announced as float32 .* came as float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_is_refused_and_nothing_is_left(directory, tensors, options, said):
    with pytest.raises(InputError, match=said):
        save_tensors(directory / "new", tensors, **options)

    assert not (directory / "new").exists()


def test_no_tensors_are_a_checkpoint_too(directory):
    save_tensors(directory, {})

    assert len(Checkpoint.open(directory)) == 0
