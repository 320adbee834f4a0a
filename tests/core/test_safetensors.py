"""Headers of safetensors files: what is right is read exactly, what is wrong is refused in one sentence."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automodels.checkpoint.dtypes import BY_SAFETENSORS_NAME
from automodels.checkpoint.safetensors import read_header
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError

NAMES = {dtype: name for name, dtype in BY_SAFETENSORS_NAME.items()}
F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def packed(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file; `header` is JSON text as it shall stand there, or a value to be written as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def saved(tensors: dict[str, np.ndarray]) -> bytes:
    """A well-formed file with these arrays."""
    ends = list(itertools.accumulate((array.nbytes for array in tensors.values()), initial=0))
    header = {
        name: {"dtype": NAMES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
        for (name, array), start, end in zip(tensors.items(), ends, ends[1:], strict=False)
    }
    return packed(header, b"".join(array.tobytes() for array in tensors.values()))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        return path

    return write


def refusal(path: Path) -> str:
    """The sentence with which a file is refused; it names the file and fits on a small terminal."""
    with pytest.raises(CheckpointFormatError) as caught:
        read_header(path)
    text = str(caught.value)
    assert path.name in text
    assert len(text.splitlines()) <= 12
    assert len(text) < 1000
    return text


def same_bits(read: np.ndarray, written: np.ndarray) -> bool:
    return (read.dtype, read.shape, read.tobytes()) == (written.dtype, written.shape, written.tobytes())


@pytest.mark.parametrize("name", BY_SAFETENSORS_NAME)
def test_every_type_is_read_bit_by_bit(file, name):
    bits = np.arange(64, dtype=np.uint8) % (2 if name == "BOOL" else 251)
    array = bits.view(BY_SAFETENSORS_NAME[name]).reshape(2, -1)

    view = read_header(file(saved({"a": array})))["a"]

    assert (view.shape, view.nbytes) == (array.shape, 64)
    assert same_bits(view.numpy(), array)


@pytest.mark.parametrize(
    ("name", "data", "values"),
    [
        ("BF16", "803f 00c0 807f 4940", [1.0, -2.0, float("inf"), 3.140625]),
        ("F16", "003c 00c0 007c", [1.0, -2.0, float("inf")]),
        ("F8_E4M3", "38 c0 7e", [1.0, -2.0, 448.0]),
        ("F8_E5M2", "3c c0 7b 7c", [1.0, -2.0, 57344.0, float("inf")]),
        ("F8_E4M3FNUZ", "40 c8 7f", [1.0, -2.0, 240.0]),
        ("F8_E5M2FNUZ", "40 c4 7f", [1.0, -2.0, 57344.0]),
        ("F8_E8M0", "7f 80 7c", [1.0, 2.0, 0.125]),
        ("I16", "ffff 0080", [-1, -32768]),
        ("U64", "ffffffffffffffff", [2**64 - 1]),
        ("C64", "0000803f 000000c0", [1 - 2j]),
        ("BOOL", "00 01", [False, True]),
    ],
)
def test_the_bits_of_a_type_mean_what_the_format_says(file, name, data, values):
    content = bytes.fromhex(data)
    header = {"a": {"dtype": name, "shape": [len(values)], "data_offsets": [0, len(content)]}}

    array = read_header(file(packed(header, content)))["a"].numpy()

    assert [value.item() for value in array] == values


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (1,) * 32, (2, 3, 4)])
def test_scalars_empty_tensors_and_many_axes_keep_their_shape(file, shape):
    array = np.ones(shape, ml_dtypes.bfloat16)

    tensors = read_header(file(saved({"before": np.zeros(3, np.int8), "a": array, "after": np.ones(2, np.float32)})))

    assert same_bits(tensors["a"].numpy(), array)
    assert not tensors["a"].numpy().flags.writeable
    assert tensors["after"].numpy().tolist() == [1, 1]


def test_tensors_come_in_the_order_of_their_data_whatever_the_order_of_the_header(file):
    header = {"b": {**F32, "data_offsets": [4, 8]}, "a": F32, "none": {**F32, "shape": [0], "data_offsets": [4, 4]}}

    tensors = read_header(file(packed(header, bytes(8))))

    assert list(tensors) == ["a", "none", "b"]


def test_a_file_without_tensors_metadata_and_padding_are_fine(file):
    assert read_header(file(packed(b'{"__metadata__":{"format":"pt"}}      '))) == {}
    assert read_header(file(packed(b"{}"))) == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x01\x02\xff", "has 3 bytes; a safetensors file has at least 8"),
        (bytes(7), "full of zeros"),
        (bytes(8), "full of zeros"),
        (bytes(4096), "full of zeros"),
        (bytes(8) + b"\x01\xff", "header of 0 bytes is not JSON"),
        ((50).to_bytes(8, "little") + b'{"a":', "is truncated: its header has 50 bytes, the whole file 13"),
        ((2**63).to_bytes(8, "little") + b"{}", "would start with a header of 9223372036854775808 bytes"),
        ((100 * 2**20 + 1).to_bytes(8, "little") + b"{}", "would start with a header of 104857601 bytes"),
        (packed(b"\x93NUMPY"), "header of 6 bytes is not JSON"),
        (packed(b" {}"), "header of 3 bytes is not JSON"),
        (packed(b"[1, 2]"), "header of 6 bytes is not JSON"),
        (packed(b'{"a": '), "not strict JSON"),
        (packed(b"{} {}"), "not strict JSON"),
        (packed(b'{"a\xff": 1}'), "not UTF-8"),
        (packed(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)), "NaN is not a JSON"),
        (packed(b'{"a": 1e999}'), "too large for a number"),
        (packed(b'{"a": ' + b"9" * 5000 + b"}"), "not strict JSON"),
        (packed(b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}"), "nested more than 4 levels"),
        (packed(b'{"a": ' + b"[" * 99999 + b"]" * 99999 + b"}"), "nested more than 4 levels"),
        (packed(b'{"tw": {"dtype": "F32"}, "tw": {"dtype": "F32"}}'), "'tw' stands there twice"),
        (packed(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": []}}'), "'dtype' stands there twice"),
        (packed({"__metadata__": {"step": 3}}), "__metadata__ is not a table of strings"),
        (packed({"__metadata__": "x"}), "__metadata__ is not a table of strings"),
        (packed({}, b"more"), "has 4 bytes that belong to no tensor"),
        (packed({"a": F32}, bytes(9)), "has 5 bytes that belong to no tensor"),
    ],
)  # fmt: skip
def test_a_file_that_is_malformed_as_a_whole_is_refused(file, content, said):
    assert said in refusal(file(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "F33"}, "the dtype 'F33' is not known"),
        ({"dtype": "f32"}, "the dtype 'f32' is not known"),
        ({"dtype": "F4"}, "F4 packs elements of 4 bits across bytes"),
        ({"dtype": "F6_E2M3"}, "F6_E2M3 packs elements of 6 bits across bytes"),
        ({"dtype": 32}, "the dtype 32 is not known"),
        ({"dtype": ["F32"]}, "the dtype ['F32'] is not known"),
        ({"shape": [2]}, "F32 of shape [2] needs 8 bytes, its data has 4"),
        ({"shape": []}, None),
        ({"shape": [0]}, "needs 0 bytes, its data has 4"),
        ({"shape": [-1]}, "is not a list of at most 32 lengths"),
        ({"shape": [True]}, "is not a list of at most 32 lengths"),
        ({"shape": [1.0]}, "is not a list of at most 32 lengths"),
        ({"shape": ["1"]}, "is not a list of at most 32 lengths"),
        ({"shape": 1}, "is not a list of at most 32 lengths"),
        ({"shape": {}}, "is not a list of at most 32 lengths"),
        ({"shape": [1] * 33}, "is not a list of at most 32 lengths"),
        ({"shape": [10**18, 10**18, 10**18]}, "is larger than any array"),
        ({"shape": [2**61, 2**61, 0], "data_offsets": [0, 0]}, "is larger than any array"),
        ({"shape": [2**32, 2**32], "data_offsets": [0, 0]}, "is larger than any array"),
        ({"data_offsets": [4, 0]}, "are not two ascending byte positions"),
        ({"data_offsets": [-4, 0]}, "are not two ascending byte positions"),
        ({"data_offsets": [0, 4.0]}, "are not two ascending byte positions"),
        ({"data_offsets": [False, 4]}, "are not two ascending byte positions"),
        ({"data_offsets": [0]}, "are not two ascending byte positions"),
        ({"data_offsets": [0, 4, 8]}, "are not two ascending byte positions"),
        ({"data_offsets": "04"}, "are not two ascending byte positions"),
        ({"data_offsets": [2**64, 2**64 + 4]}, "are not two ascending byte positions"),
        ({"data_offsets": [1, 5]}, "leaves a hole before it"),
        ({"more": 1}, "does not consist of dtype, shape and data_offsets"),
    ],
)
def test_a_wrong_entry_is_refused_naming_the_tensor(file, change, said):
    path = file(packed({"layer.0.weight": {**F32, **change}}, bytes(4)))

    if said is None:
        assert read_header(path)["layer.0.weight"].shape == ()
    else:
        text = refusal(path)
        assert said in text
        assert "model.safetensors, tensor 'layer.0.weight'" in text


@pytest.mark.parametrize("entry", [None, 1, "F32", [], {}, {"dtype": "F32", "shape": [1]}])
def test_an_entry_that_is_no_table_of_three_is_refused(file, entry):
    assert "tensor 'a': the entry does not consist" in refusal(file(packed({"a": entry}, bytes(4))))


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        ([[0, 4], [0, 4]], "tensor 'b': its data overlaps the one before it"),
        ([[0, 4], [2, 6]], "tensor 'b': its data overlaps the one before it"),
        ([[4, 8], [2, 6]], "tensor 'b': its data leaves a hole before it"),
        ([[0, 4], [8, 12]], "tensor 'b': its data leaves a hole before it"),
    ],
)
def test_data_that_overlaps_or_leaves_holes_is_refused(file, offsets, said):
    header = {name: {**F32, "data_offsets": pair} for name, pair in zip("ab", offsets, strict=True)}

    assert said in refusal(file(packed(header, bytes(12))))


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "\ud800", "\u202egnp", "x" * 513])
def test_a_tensor_whose_name_could_not_be_printed_is_refused(file, name):
    text = refusal(file(packed({name: F32}, bytes(4))))

    assert "a name has at most 512 characters" in text
    assert text.replace("\n", "").isprintable()


def test_a_truncated_file_names_the_tensors_that_are_cut(file):
    content = saved({name: np.zeros(4, np.float32) for name in "abcdefg"})

    text = refusal(file(content[:-70]))

    assert f"it has {len(content) - 70} bytes, its header promises {len(content)}" in text
    assert "5 tensors are cut (c, d, e and 2 more)" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab12" + b"0" * 60 + b"\nsize 4900000000\n",
            "is a Git LFS pointer (4.9 GB, sha256 ab12…), not weights.\nRun: git lfs pull",
        ),
        (b"<!DOCTYPE html><html><title>404</title>", "is a web page, not weights"),
        (b"PK\x03\x04\x00\x00\x08\x08" + bytes(100), "is a zip archive"),
        (b"\x1f\x8b\x08\x00" + b"\xaa" * 100, "is a compressed archive"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.", "is a Python pickle"),
        (b'{"metadata": {}, "weight_map": {}}', "is JSON, not weights"),
        (b"Entry not found", "is text ('Entry not found'), not weights"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(file, content, said):
    assert said in refusal(file(content))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "model.safetensors")

    assert "is not a regular file" in refusal(tmp_path / "model.safetensors")


def test_a_directory_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "model.safetensors").mkdir()

    assert "is not a regular file" in refusal(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"other\.safetensors cannot be read: No such file"):
        read_header(tmp_path / "other.safetensors")


def test_declared_sizes_allocate_nothing(file):
    path = file(packed({"a": {"dtype": "U8", "shape": [10**15], "data_offsets": [0, 10**15]}}))
    tracemalloc.start()

    text = refusal(path)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "is truncated" in text
    assert peak < 2_000_000


names = st.text(st.characters(exclude_categories=("C", "Z")), max_size=20).filter(
    lambda name: name.isprintable() and name != "__metadata__"
)
shapes = st.lists(st.integers(0, 4), max_size=4)
arrays = st.builds(
    lambda dtype, shape, seed: (
        np.random.default_rng(seed)
        .integers(0, 2 if dtype == np.bool_ else 256, int(np.prod(shape)) * dtype.itemsize, np.uint8)
        .view(dtype)
        .reshape(shape)
    ),
    st.sampled_from(list(BY_SAFETENSORS_NAME.values())),
    shapes,
    st.integers(0, 2**32),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.dictionaries(names, arrays, max_size=6))
def test_any_tensors_come_back_as_they_were_written(file, tensors):
    path = file(saved(tensors))

    read = read_header(path)

    assert set(read) == set(tensors)
    assert all(same_bits(read[name].numpy(), array) for name, array in tensors.items())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.dictionaries(names, arrays, max_size=6))
def test_our_reader_agrees_with_the_safetensors_library(file, tensors):
    library = pytest.importorskip("safetensors")
    content = saved(tensors)

    ours = read_header(file(content))

    theirs = dict(library.deserialize(content))
    assert set(ours) == set(theirs)
    for name, view in ours.items():
        assert view.numpy().tobytes() == bytes(theirs[name]["data"])
        assert (list(view.shape), NAMES[view.dtype]) == (theirs[name]["shape"], theirs[name]["dtype"])


VALID = saved(
    {
        "embeddings.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "scale": np.array(1, ml_dtypes.bfloat16),
        "none": np.empty((0, 2), np.int64),
        "bias": np.arange(5, dtype=np.float16),
    }
)
HEADER = VALID[8 : 8 + int.from_bytes(VALID[:8], "little")].decode()
PIECES = ["9" * 19, *' ,"[]{}0é', "", "-1", "1e9", "null", "true", "NaN", "F16", "\\u0000"]

edit = st.tuples(st.integers(0, len(VALID)), st.integers(0, 3), st.binary(max_size=3))
header_edit = st.tuples(st.integers(0, len(HEADER)), st.integers(0, 6), st.sampled_from(PIECES))


def edited(content: Any, changes: Any) -> Any:
    for place, removed, added in changes:
        content = content[:place] + added + content[place + removed :]
    return content


def read_or_refused(path: Path) -> None:
    """Reading gives tensors that lie inside the file, or a typed error; it never allocates what a header promises."""
    size, tensors = path.stat().st_size, {}
    tracemalloc.start()
    try:
        with contextlib.suppress(CheckpointFormatError):
            tensors = read_header(path)
        assert all(8 <= view.start <= view.start + view.nbytes <= size for view in tensors.values())
        assert all(view.numpy().shape == view.shape for view in tensors.values())
        assert tracemalloc.get_traced_memory()[1] < 1_000_000  # for a file of some hundred bytes
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(edit, min_size=1, max_size=4), cut=st.integers(0, len(VALID)))
def test_bytes_that_are_changed_at_random_never_crash_the_reader(file, changes, cut):
    read_or_refused(file(edited(VALID, changes)[: max(cut, len(VALID) // 2)]))


@settings(deadline=None, max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(header_edit, min_size=1, max_size=3))
def test_headers_that_are_changed_at_random_never_crash_the_reader(file, changes):
    data = VALID[8 + len(HEADER) :]

    read_or_refused(file(packed(edited(HEADER, changes).encode(), data)))
