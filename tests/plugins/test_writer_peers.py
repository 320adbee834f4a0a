"""What we write is read by the libraries whose formats these are, and msgpack is theirs byte for byte."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from automodels.checkpoint.writer import save_tensors

KINDS = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64, np.int8, np.int32, np.int64, np.uint8, np.bool_]
SHAPES = [(), (1,), (3, 5), (64, 16), (2, 0), (300,), (70_000,)]


def arrays() -> dict[str, np.ndarray]:
    """Every type in every shape, so that sizes of all widths occur."""
    return {
        f"layer.{np.dtype(kind).name}.{place}": (np.arange(int(np.prod(shape))) % 100).reshape(shape).astype(kind)
        for kind in KINDS
        for place, shape in enumerate(SHAPES)
    }


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    found = np.asarray(found)
    return (found.dtype, found.shape, found.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


@pytest.mark.parametrize("size", ["5GB", "300kB"])
def test_safetensors_reads_our_files(tmp_path, size):
    peer = pytest.importorskip("safetensors")
    load = pytest.importorskip("safetensors.numpy").load_file

    report = save_tensors(tmp_path, arrays(), max_shard_size=size)

    found = {}
    for file in report.files:
        if file.endswith(".safetensors"):
            found |= load(tmp_path / file)
            with peer.safe_open(tmp_path / file, "numpy") as opened:
                assert opened.metadata()["format"] == "pt"
    assert found.keys() == arrays().keys()
    assert all(same(found[name], array) for name, array in arrays().items())


def nested(tensors: dict[str, np.ndarray]) -> dict[str, dict]:
    tree: dict[str, dict] = {}
    for name, array in tensors.items():
        *outer, last = name.split(".")
        branch = tree
        for part in outer:
            branch = branch.setdefault(part, {})
        branch[last] = array
    return tree


def written(tmp_path: Path, tensors: dict[str, np.ndarray]) -> bytes:
    save_tensors(tmp_path, tensors, format="msgpack", naming="flax")
    return (tmp_path / "flax_model.msgpack").read_bytes()


def test_flax_reads_our_msgpack(tmp_path):
    from flax.serialization import msgpack_restore

    found = msgpack_restore(written(tmp_path, arrays()))

    assert all(same(found["layer"][kind][place], array) for (_, kind, place), array in _split(arrays()))


def _split(tensors: dict[str, np.ndarray]):
    return [(name.split("."), array) for name, array in tensors.items()]


def test_msgpack_is_that_of_flax_byte_for_byte(tmp_path):
    from flax.serialization import msgpack_serialize

    from automodels.checkpoint.shards import natural

    ordered = {name: arrays()[name] for name in sorted(arrays(), key=natural)}

    assert written(tmp_path, arrays()) == msgpack_serialize(nested(ordered), in_place=True)


def test_chunks_of_large_arrays_are_those_of_flax(tmp_path, monkeypatch):
    from flax import serialization

    monkeypatch.setattr("automodels.checkpoint.msgpack_writing.CHUNK_BYTES", 1000)
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 1000)
    tensors = {"a.large": np.arange(2000, dtype=np.float32).reshape(20, 100), "a.small": np.zeros(250, np.float32)}

    content = written(tmp_path, tensors)

    assert content == serialization.msgpack_serialize(nested(tensors), in_place=True)
    assert same(serialization.msgpack_restore(content)["a"]["large"], tensors["a.large"])
