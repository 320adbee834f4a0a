"""Flax's msgpack files: walked without reading arrays; what is wrong is refused in one sentence."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from automodels.checkpoint import msgpack
from automodels.checkpoint.dtypes import BY_NUMPY_NAME
from automodels.checkpoint.msgpack import DEPTH, read_msgpack
from automodels.errors import CheckpointFormatError


def packed(value: Any) -> bytes:
    """A value in msgpack, long forms only: they are always allowed; bytes stand there as they are."""
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())
    if isinstance(value, np.ndarray):
        return array(value)
    if isinstance(value, list | tuple):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, bool) or value is None:
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    return bytes(value)


def binary(data: bytes) -> bytes:
    return b"\xc6" + struct.pack(">I", len(data)) + data


def extension(code: int, body: bytes) -> bytes:
    return b"\xc9" + struct.pack(">Ib", len(body), code) + body


def array(value: np.ndarray, code: int = 1) -> bytes:
    """An array as flax.serialization writes it."""
    return extension(code, packed([list(value.shape), value.dtype.name, binary(value.tobytes())]))


def chunked(shape: Any, chunks: Any) -> dict[str, Any]:
    return {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}


def numbered(values: Any) -> dict[str, Any]:
    return {str(place): value for place, value in enumerate(values)}


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = tmp_path / "flax_model.msgpack"
        path.write_bytes(content if isinstance(content, bytes) else packed(content))
        return path

    return write


def refusal(path: Path) -> str:
    tracemalloc.start()
    with pytest.raises(CheckpointFormatError) as caught:
        read_msgpack(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert path.name in text
    assert len(text.splitlines()) <= 12
    assert len(text) < 1000
    assert text.replace("\n", "").isprintable()
    assert peak < 2_000_000 + 160 * path.stat().st_size
    return text


ONES = np.ones(3, np.float32)


@pytest.mark.parametrize("name", BY_NUMPY_NAME)
def test_every_type_is_read_bit_by_bit(file, name):
    bits = (np.arange(64, dtype=np.uint8) % (2 if name == "bool" else 251)).view(BY_NUMPY_NAME[name]).reshape(2, -1)

    view = read_msgpack(file({"a": bits})).tensors["a"]

    assert (view.dtype, view.shape, view.is_contiguous) == (bits.dtype, bits.shape, True)
    assert view.numpy().tobytes() == bits.tobytes()
    assert not view.numpy().flags.writeable


def test_names_are_keys_joined_by_dots_and_views_bear_them(file):
    tree = {"bert": {"layer": {"0": {"kernel": ONES}, "1": {"kernel": ONES + 1}}}, "head": ONES + 2}

    tensors = read_msgpack(file(tree)).tensors

    assert list(tensors) == ["bert.layer.0.kernel", "bert.layer.1.kernel", "head"]
    assert all(view.name == name for name, view in tensors.items())
    assert tensors["bert.layer.1.kernel"].numpy().tolist() == [2, 2, 2]


def test_params_around_everything_is_taken_off_and_what_stands_beside_keeps_its_name(file):
    contents = read_msgpack(file({"step": 3, "params": {"a": ONES}, "opt_state": {"mu": {"a": ONES}, "count": 1}}))

    assert list(contents.tensors) == ["a", "opt_state.mu.a"]
    assert contents.ignored == ("step", "opt_state.count")


def test_scalars_of_numpy_are_tensors_and_those_of_python_are_noted(file):
    tree = {
        "scalar": array(np.array(2.5, ml_dtypes.bfloat16), code=3), "complex": extension(2, packed([1.0, 2.0])),
        "none": None, "yes": True, "int": -5, "float": 0.5, "text": "x", "long": "x" * 5000, "bytes": binary(b"x"),
        "list": [ONES, 7], "nothing": {},
    }  # fmt: skip

    contents = read_msgpack(file(tree))

    assert {name: view.shape for name, view in contents.tensors.items()} == {"scalar": (), "list.0": (3,)}
    assert contents.tensors["scalar"].numpy() == 2.5
    assert sorted(contents.ignored) == sorted(
        ["complex", "none", "yes", "int", "float", "text", "long", "bytes", "list.1"]
    )


@pytest.mark.parametrize("size", [1, 5, 7, 24, 100])
def test_an_array_in_chunks_is_one_tensor(file, size):
    whole = np.arange(24, dtype=np.int16)
    chunks = numbered(whole[start : start + size] for start in range(0, 24, size))

    view = read_msgpack(file({"before": ONES, "a": chunked(numbered((2, 3, 4)), chunks)})).tensors["a"]

    assert view.is_contiguous is (size >= 24)
    assert view.numpy().tolist() == whole.reshape(2, 3, 4).tolist()
    assert view[1, 2].tolist() == [20, 21, 22, 23]
    assert not view.numpy().flags.writeable


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (chunked(numbered((4,)), numbered([ONES])), "float32 of shape [4] needs 16 bytes, its chunks have 12"),
        (chunked(numbered((1 << 40,)), numbered([ONES])), "its chunks have 12"),
        (chunked(numbered((1 << 61, 1 << 61)), numbered([ONES])), "is larger than any array"),
        (chunked({"0": 3, "2": 1}, numbered([ONES])), "a list has no item 1"),
        (chunked({"0": "3"}, numbered([ONES])), "is not a list of at most 32 lengths"),
        (chunked(numbered((3,)), {}), "are not flat arrays of one type"),
        (chunked(numbered((3,)), numbered([1])), "are not flat arrays of one type"),
        (chunked(numbered((3,)), numbered([ONES.reshape(3, 1)])), "are not flat arrays of one type"),
        (chunked(numbered((6,)), numbered([ONES, ONES.astype(np.int32)])), "are not flat arrays of one type"),
        (chunked(numbered((3,)), ONES), "does not consist of shape and chunks"),
        ({"__msgpack_chunked_array__": True}, "does not consist of shape and chunks"),
    ],
)
def test_chunks_that_do_not_make_an_array_are_refused(file, tree, said):
    text = refusal(file({"x": {"a": tree}}))

    assert said in text
    assert "tensor 'x.a'" in text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([[3], "float32"], "does not consist of shape, type and bytes"),
        (7, "does not consist of shape, type and bytes"),
        ({"a": 1, "b": 2, "c": 3}, "does not consist of shape, type and bytes"),
        ([3, "float32", binary(bytes(12))], "the shape is not a short list"),
        ([[1] * 100, "float32", binary(bytes(12))], "the shape is not a short list"),
        ([[1] * 40, "float32", binary(bytes(4))], "is not a list of at most 32 lengths"),
        ([[-3], "float32", binary(bytes(12))], "is not a list of at most 32 lengths"),
        ([[3.0], "float32", binary(bytes(12))], "is not a list of at most 32 lengths"),
        ([[[3]], "float32", binary(bytes(12))], "the dtype 3 is not known"),
        ([[1 << 61, 1 << 61], "float32", binary(bytes(12))], "is larger than any array"),
        ([[3], "float33", binary(bytes(12))], "the dtype 'float33' is not known"),
        ([[3], "object", binary(bytes(24))], "the dtype 'object' is not known"),
        ([[3], 32, binary(bytes(12))], "the dtype 32 is not known"),
        ([[3], "float32", binary(bytes(11))], "float32 of shape [3] needs 12 bytes"),
        ([[1 << 40], "uint8", binary(bytes(12))], "needs 1099511627776 bytes"),
        ([[3], "float32", "x" * 12], "needs 12 bytes"),
        ([[3], "float32", packed(None)], "needs 12 bytes"),
    ],
)
def test_an_array_that_is_malformed_is_refused_naming_the_tensor(file, body, said):
    text = refusal(file({"x": {"a": extension(1, packed(body))}}))

    assert said in text
    assert "flax_model.msgpack, tensor 'x.a': " in text


def test_an_array_that_is_longer_or_shorter_than_its_extension_is_refused(file):
    body = packed([[3], "float32", binary(bytes(12))])

    for lie in (-1, 1):
        content = packed({"a": b"\xc9" + struct.pack(">Ib", len(body) + lie, 1) + body, "b": 1})
        assert "needs 12 bytes; it has others" in refusal(file(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (bytes(100), "is full of zeros"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive"),
        (b"\x80\x04\x95\x10\x00", "is a Python pickle"),
        (b'{"a": 1}', "is JSON"),
        (b"\x93NUMPY", "does not begin with a map"),
        (packed([1, 2]), "does not begin with a map"),
        (packed({"a": 1}) + b"\xc0", "byte 20: 1 bytes follow the end"),
        (packed({"a": 1})[:-1], "is truncated: at byte 12 it promises 8 more"),
        (packed({"a": 1})[:7], "is truncated"),
        (b"\xdf\x00", "is truncated: at byte 1 it promises 4 more"),
        (b"\x81\xa1a\xc1", "the byte 0xc1 starts no item"),
        (b"\x81\xa1\xff\xc0", "a string is not UTF-8"),
        (b"\x81\x01\x01", "a key of the file is not a string"),
        (b"\x81\xc0\x01", "a key of the file is not a string"),
        (packed({"x" * 5000: 1}), "a key of the file is not a string"),
        (b"\x82\xa1a\x01\xa1a\x02", "the key 'a' of the file stands there twice"),
        (packed({"a": {"b": ONES}, "a.b": ONES}), "two tensors have the name a.b"),
        (packed({"params": {"a": ONES}, "a": ONES}), "two tensors have the name a"),
        (packed({"two\nlines": ONES}), "all of them printable"),
        (packed({"\x1b[31m": 1}), "all of them printable"),
        (b"\xdf\xff\xff\xff\xff\xa1a", "is truncated"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "is truncated"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "is truncated"),
        (b"\x81\xa1a\xdb\xff\xff\xff\xff", "is truncated"),
        (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "is truncated"),
        (b"\x81\xa1a" * 40 + b"\xc0", f"maps are nested more than {DEPTH} levels"),
        (b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0", f"lists are nested more than {DEPTH} levels"),
    ],
)  # fmt: skip
def test_a_file_that_is_malformed_is_refused_naming_the_place(file, content, said):
    assert said in refusal(file(content))


@pytest.mark.parametrize("value", [b"\xc0", b"\x80", b"\x01"])
def test_a_file_of_too_many_values_is_refused(file, monkeypatch, value):
    monkeypatch.setattr(msgpack, "NODES", 1000)

    assert "there are more than 1000 values" in refusal(file(b"\x81\xa1a\xdd" + struct.pack(">I", 1001) + value * 1001))


def test_walking_a_file_reads_no_data(file, tmp_path):
    size = 1 << 30
    head = packed([[size], "uint8", b""]) + b"\xc6" + struct.pack(">I", size)
    body = b"\x81\xa1a\xc9" + struct.pack(">Ib", len(head) + size, 1) + head
    path = file(body)
    with path.open("r+b") as stream:
        stream.truncate(len(body) + size)  # sparse: the file system keeps no zeros
    tracemalloc.start()

    view = read_msgpack(path).tensors["a"]

    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    assert view.file._mapped is None
    assert view[size - 3 :].tolist() == [0, 0, 0]
