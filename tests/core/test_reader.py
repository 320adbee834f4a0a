"""Checkpoint: which files it chooses, how little it reads, and what happens when they change underneath."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from automodels.checkpoint.reader import INDEX, SINGLE, Checkpoint
from automodels.checkpoint.safetensors import read_header
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """A safetensors file of float32 arrays."""
    header, data = {}, b""
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def numbers(*shape: int, start: float = 0) -> np.ndarray:
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_single_file_is_preferred_to_shards(tmp_path):
    write(tmp_path / SINGLE, {"single": numbers(2)})
    write(tmp_path / "a.safetensors", {"sharded": numbers(2)})
    (tmp_path / INDEX).write_text('{"weight_map": {"sharded": "a.safetensors"}}')

    checkpoint = Checkpoint.open(tmp_path)

    assert (list(checkpoint), checkpoint.files, len(checkpoint)) == (["single"], (SINGLE,), 1)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], r"has no weights: neither model\.safetensors nor model\.safetensors\.index\.json"),
        (["tf_model.h5", "x.gguf"], "has no weights that can be read; tf_model.h5, x.gguf is of another format"),
        (["model-00001-of-00002.safetensors"], "has 1 shards, but no model.safetensors.index.json"),
    ],
)
def test_a_directory_without_weights_says_what_is_there_instead(tmp_path, files, said):
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(CheckpointNotFoundError, match=said):
        Checkpoint.open(tmp_path)


def test_what_is_no_directory_is_not_found(tmp_path):
    (tmp_path / "file").touch()

    for name in ("file", "missing", "file/below", "x" * 5000, "nul\0"):
        with pytest.raises(CheckpointNotFoundError, match="There is no directory"):
            Checkpoint.open(tmp_path / name)


def test_opening_reads_the_headers_and_nothing_else(tmp_path):
    size = 10 << 30
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path = tmp_path / SINGLE
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with path.open("r+b") as stream:
        stream.truncate(8 + len(header) + size)  # sparse: the file system keeps no zeros
    opened = []

    def watch(event, arguments):
        if watching and event == "open":
            opened.append(Path(arguments[0]).name)

    watching = True
    sys.addaudithook(watch)
    view = Checkpoint.open(tmp_path)["a"]
    watching = False

    assert opened == [SINGLE, SINGLE]  # open(), and os.open() below it
    assert (view.shape, view.nbytes) == ((size,), size)
    assert view.file._mapped is None
    assert view[5_000_000_000:5_000_000_003].tolist() == [0, 0, 0]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
def test_the_bytes_that_opening_reads_do_not_grow_with_the_data(tmp_path):
    def read_while_opening(count: int) -> int:
        write(tmp_path / SINGLE, {"a": numbers(count)})
        before = bytes_read()
        Checkpoint.open(tmp_path)
        return bytes_read() - before

    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    read_while_opening(1)

    assert read_while_opening(10_000_000) <= read_while_opening(10_000) + 100


def test_a_view_reads_slices(tmp_path):
    array = numbers(6, 5, 4)
    view = read_header(write(tmp_path / "x.safetensors", {"before": numbers(3), "a": array}))["a"]

    for index in [0, (1, 2), slice(2, 5), (slice(None), 3), (..., slice(None, None, -2)), (5, 4, 3), np.array([3, 1])]:
        np.testing.assert_array_equal(view[index], array[index], strict=True)
    with pytest.raises(IndexError):
        view[6]


def test_arrays_cannot_be_written_to(tmp_path):
    view = read_header(write(tmp_path / "x.safetensors", {"a": numbers(3)}))["a"]

    with pytest.raises(ValueError, match="read-only"):
        view.numpy()[0] = 1


def test_views_of_one_file_share_one_mapping(tmp_path):
    checkpoint = Checkpoint.open(write(tmp_path / SINGLE, {"a": numbers(3), "b": numbers(3)}).parent)

    assert checkpoint["a"].file is checkpoint["b"].file
    assert checkpoint["a"].file.mapped() is checkpoint["b"].file.mapped()


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({"a": numbers(4)}, r"was changed after its header was verified: it had \d+ bytes then and has \d+ now"),
        ({"a": numbers(3, start=9)}, "was changed after its header was verified: it is newer now"),
    ],
)
def test_a_file_that_is_replaced_after_opening_is_refused(tmp_path, later, said):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    os.utime(path, (1, 1))
    view = Checkpoint.open(tmp_path)["a"]

    os.replace(write(tmp_path / "new", later), path)

    with pytest.raises(CheckpointFormatError, match=rf"model\.safetensors {said}"):
        view.numpy()


def test_a_file_that_is_removed_after_opening_is_not_found(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    view = Checkpoint.open(tmp_path)["a"]

    path.unlink()

    with pytest.raises(CheckpointNotFoundError, match="No such file"):
        view.numpy()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_file_that_is_replaced_by_a_pipe_is_not_waited_for(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    view = Checkpoint.open(tmp_path)["a"]

    path.unlink()
    os.mkfifo(path)

    with pytest.raises(CheckpointFormatError, match="is not a regular file"):
        view.numpy()


@pytest.mark.skipif(sys.platform == "win32", reason="mapped files cannot be removed there")
def test_a_mapping_outlives_the_file_and_the_checkpoint(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3), "b": numbers(3, start=7)})
    checkpoint = Checkpoint.open(tmp_path)
    first = checkpoint["a"].numpy()

    path.unlink()
    write(path, {"a": numbers(3, start=50)})
    second = checkpoint["b"].numpy()
    del checkpoint

    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [7, 8, 9]


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_checkpoints_and_views_travel_to_other_processes(tmp_path, copied):
    write(tmp_path / SINGLE, {"a": numbers(3), "none": numbers(0, 4), "b": numbers(2, 2)})
    original = Checkpoint.open(tmp_path)
    original["a"].numpy()

    checkpoint = copied(original)
    view = copied(original["b"])

    assert list(checkpoint) == ["a", "none", "b"]
    assert checkpoint["a"].file is checkpoint["b"].file
    assert checkpoint["a"].numpy().tolist() == [0, 1, 2]
    assert checkpoint["none"].numpy().shape == (0, 4)
    assert view.numpy().tolist() == [[0, 1], [2, 3]]


def test_a_pickled_view_notices_that_its_file_was_replaced(tmp_path):
    path = write(tmp_path / SINGLE, {"a": numbers(3)})
    os.utime(path, (1, 1))
    message = pickle.dumps(Checkpoint.open(tmp_path))

    os.replace(write(tmp_path / "new", {"a": numbers(3)}), path)

    with pytest.raises(CheckpointFormatError, match="was changed"):
        pickle.loads(message)["a"].numpy()
