"""verify: every defect of a checkpoint is found, with its file, and nothing is read that need not be."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from automodels.checkpoint.journal import RECORD, Record
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.tensors import WeightFile
from automodels.checkpoint.verify import verify
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointNotFoundError, InputError

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 4900000000\n"


@pytest.fixture
def saved(tmp_path):
    """Writes two tensors of 16 bytes; with `max_shard_size=16`, each into a shard of its own."""

    def save(**options) -> Path:
        tensors = {"a": np.arange(4, dtype=np.float32), "b": np.arange(4, 8, dtype=np.float32)}
        save_tensors(tmp_path / "c", tensors, files={"config.json": b'{"model_type": "toy"}'}, **options)
        return tmp_path / "c"

    return save


@pytest.fixture
def sharded(saved):
    return saved(max_shard_size=16)


def found(directory, **options):
    """(file, kind) of what breaks it."""
    return [(defect.file, defect.kind) for defect in verify(directory, **options).defects if defect.breaks]


def notes(directory, **options):
    return [(defect.file, defect.kind) for defect in verify(directory, **options).defects if not defect.breaks]


@pytest.mark.parametrize("options", [{}, {"max_shard_size": 16}, {"format": "msgpack", "naming": "flax"}])
def test_what_our_writer_saved_is_in_order(saved, options):
    report = verify(saved(**options), finite=True, sha256=True)

    assert (report.ok, report.defects, report.tensors, report.nbytes) == (True, (), 2, 32)
    assert all(file.sha256 == hashlib.sha256((report.directory / file.name).read_bytes()).hexdigest()
               for file in report.files)  # fmt: skip


def test_a_variant_is_verified_by_itself(saved):
    directory = saved(variant="fp16")

    assert verify(directory, variant="fp16").ok
    assert found(directory) == [("", "missing")]


def test_no_tensor_is_read_unless_asked_for(sharded, monkeypatch):
    def refuse(self):
        raise AssertionError("data was read")

    monkeypatch.setattr(WeightFile, "mapped", refuse)

    assert verify(sharded, sha256=True).ok


def test_every_defect_is_reported_and_not_just_the_first(sharded):
    (sharded / FIRST).write_bytes(POINTER)
    (sharded / SECOND).write_bytes((sharded / SECOND).read_bytes()[:-1])
    (sharded / "config.json").write_text("{")
    (sharded / "tokenizer.json").write_bytes(POINTER)

    assert found(sharded) == [
        ("config.json", "config"), (FIRST, "format"), (SECOND, "format"), ("tokenizer.json", "pointer"),
    ]  # fmt: skip


def test_a_missing_shard_names_the_tensors_in_it(sharded):
    (sharded / SECOND).unlink()

    [defect] = verify(sharded).defects

    assert (defect.file, defect.kind, defect.tensors) == (SECOND, "missing", ("b",))


def test_index_and_headers_that_contradict_each_other_are_reported_by_shard(sharded):
    weight_map = {"a": SECOND, "b": SECOND, "lost": FIRST}
    (sharded / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    report = verify(sharded)

    by_file = {(defect.file, defect.tensors) for defect in report.defects}
    assert by_file == {(FIRST, ("lost",)), (FIRST, ("a",)), (SECOND, ("a",))}
    assert not report.ok


def test_tensors_and_shards_that_the_index_leaves_out_are_notes(sharded):
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"a": FIRST}}))

    assert found(sharded) == []
    assert notes(sharded) == [(SECOND, "stray")]


def test_a_tensor_that_the_index_leaves_out_is_a_note(saved):
    directory = saved()
    os.rename(directory / "model.safetensors", directory / FIRST)
    (directory / INDEX).write_text(json.dumps({"weight_map": {"a": FIRST}}))

    assert (found(directory), notes(directory)) == ([], [(FIRST, "unlisted")])


@pytest.mark.parametrize("index", ['{"weight_map": {"a": "../x.safetensors"}}', '{"weight_map": {"a": "/x"}}'])
def test_an_index_that_leaves_the_directory_is_a_matter_of_security(sharded, index):
    (sharded / INDEX).write_text(index)

    assert found(sharded) == [(INDEX, "security")]


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "\0"])
def test_an_index_that_is_none_is_reported(sharded, index):
    (sharded / INDEX).write_text(index)

    assert found(sharded) == [(INDEX, "index")]


def test_a_shard_that_is_a_link_to_the_outside_is_a_matter_of_security(sharded, tmp_path):
    os.rename(sharded / FIRST, tmp_path / "elsewhere.safetensors")
    (sharded / FIRST).symlink_to(tmp_path / "elsewhere.safetensors")

    assert found(sharded) == [(FIRST, "security")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"", "empty"),
        (b"\x80\x02}.", "pickle"),
        (bytes(64), "zeros"),
    ],
    ids=["pointer", "page", "zip", "empty", "pickle", "zeros"],
)
def test_impostors_are_called_what_they_are(saved, content, said):
    directory = saved()
    (directory / "model.safetensors").write_bytes(content)

    [defect] = verify(directory).defects

    assert (defect.file, defect.kind) == ("model.safetensors", "format")
    assert said in defect.message


def header(entries, data):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "dtype"),
        (header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "needs 8 bytes"),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                 "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}, bytes(6)), "overlaps"),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(5)), "belong to no tensor"),
        (header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(3)), "truncated"),
        (header({}, b"").replace(b"{}", b'{"a":1,"a":1}').replace(b"\x02", b"\x0d", 1), "'a'"),
    ],
    ids=["dtype", "shape", "overlap", "trailing", "truncated", "duplicate"],
)  # fmt: skip
def test_what_the_reader_refuses_is_a_defect_of_the_file(saved, content, said):
    directory = saved()
    (directory / "model.safetensors").write_bytes(content)

    [defect] = verify(directory).defects

    assert (defect.file, defect.kind) == ("model.safetensors", "format")
    assert said in defect.message


def test_weight_files_that_no_reader_takes_are_notes_even_if_broken(saved):
    directory = saved()
    (directory / "flax_model.msgpack").write_bytes(POINTER)
    (directory / "model-00003-of-00003.safetensors").write_bytes((directory / "model.safetensors").read_bytes())

    assert verify(directory).ok
    assert notes(directory) == [("flax_model.msgpack", "stray"), ("model-00003-of-00003.safetensors", "stray")]


def test_shards_of_two_checkpoints_are_what_the_reader_says_they_are(sharded, tmp_path):
    save_tensors(tmp_path / "flax", {"b": np.zeros(4, np.float32)}, naming="flax")
    os.replace(tmp_path / "flax" / "model.safetensors", sharded / SECOND)

    [defect] = verify(sharded).defects

    assert (defect.file, defect.kind, defect.breaks) == (INDEX, "format", True)


def test_a_save_that_waits_to_be_completed_is_a_note_and_counts(saved):
    directory = saved()
    record = Record(identity="0" * 16, publish=("model.safetensors",), remove=())
    os.rename(directory / "model.safetensors", directory / record.temporary("model.safetensors"))
    (directory / RECORD).write_bytes(record.to_json())

    assert verify(directory, finite=True).tensors == 2
    assert (found(directory), notes(directory)) == ([], [("", "pending")])


def test_what_is_left_of_an_undecided_save_is_a_note(saved):
    directory = saved()
    (directory / ".automodels-0123456789abcdef-model.safetensors").write_bytes(b"half")

    assert (found(directory), notes(directory)) == ([], [("", "pending")])


def test_a_record_that_no_save_has_left_stops_everything_else(saved):
    directory = saved()
    (directory / RECORD).write_text("{}")

    assert found(directory) == [("", "record")]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "float8_e5m2"])
def test_nan_and_infinities_are_counted_in_every_type_that_has_them(tmp_path, dtype):
    values = np.ones((2, 3), np.dtype(getattr(ml_dtypes, dtype, None) or dtype))
    values[0, 1], values[1, 2] = np.nan, np.inf
    save_tensors(tmp_path, {"w": values, "i": np.ones(3, np.int32)}, files={"config.json": b'{"model_type": "x"}'})

    [defect] = verify(tmp_path, finite=True).defects

    assert (defect.file, defect.kind, defect.tensors) == ("model.safetensors", "values", ("w",))
    assert defect.message == "w has 1 NaN and 1 infinite among its 6 values."
    assert verify(tmp_path).ok


def test_a_float8_without_infinities_has_nan(tmp_path):
    save_tensors(tmp_path, {"w": np.array([1, np.nan], ml_dtypes.float8_e4m3fn)})

    assert ("model.safetensors", "values") in found(tmp_path, finite=True)


@pytest.mark.parametrize("large", [True, False])
def test_a_file_of_a_hub_cache_must_have_the_hash_that_it_is_named_after(saved, tmp_path, large):
    directory = saved()
    model = tmp_path / "hub" / "models--org--name"
    snapshot, blobs = model / "snapshots" / ("0" * 40), model / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    name = "model.safetensors" if large else "config.json"
    for file in ("model.safetensors", "config.json"):
        data = (directory / file).read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        blob = blobs / (hashlib.sha256(data).hexdigest() if file == "model.safetensors" else git)
        blob.write_bytes(data)
        (snapshot / file).symlink_to(blob)
    assert verify(snapshot, sha256=True).ok

    blob = (snapshot / name).resolve()
    changed = bytearray(blob.read_bytes())
    changed[-2 if large else 1] ^= 1 if large else 0
    blob.write_bytes(bytes(changed) if large else blob.read_bytes() + b"\n")

    assert found(snapshot, sha256=True) == [(name, "checksum")]
    assert verify(snapshot).ok


def test_progress_ends_at_the_whole(sharded):
    seen = []

    verify(sharded, finite=True, sha256=True, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1][0] == seen[-1][1] == 32 + sum(os.path.getsize(sharded / name) for name in os.listdir(sharded)
                                                  if not name.startswith("."))  # fmt: skip


def test_verifying_writes_nothing(sharded):
    before = {name: os.stat(sharded / name).st_mtime_ns for name in os.listdir(sharded)}

    verify(sharded, finite=True, sha256=True)

    assert {name: os.stat(sharded / name).st_mtime_ns for name in os.listdir(sharded)} == before


def test_what_is_ok_can_be_opened_and_what_is_not_cannot(sharded):
    assert verify(sharded).ok
    assert len(Checkpoint.open(sharded)) == 2


def test_no_directory_and_an_impossible_variant_are_errors(tmp_path):
    with pytest.raises(CheckpointNotFoundError):
        verify(tmp_path / "nowhere")
    with pytest.raises(InputError):
        verify(tmp_path, variant="../x")


def test_a_pipe_and_a_directory_in_place_of_files_make_nobody_wait(sharded):
    for name in (FIRST, "config.json"):
        (sharded / name).unlink()
        os.mkfifo(sharded / name)
    (sharded / SECOND).unlink()
    (sharded / SECOND).mkdir()

    assert found(sharded, finite=True, sha256=True) == [
        ("config.json", "config"),
        (FIRST, "format"),
        (SECOND, "format"),
    ]
