"""The index beside the shards: what it may name, and that nothing else is ever opened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from automodels.checkpoint.index import contained_paths, read_index
from automodels.checkpoint.reader import INDEX, Checkpoint
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, CheckpointSecurityError

COMMIT = "0" * 39 + "1"


class Shards:
    """A checkpoint of shards that hold one number per tensor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)

    def shard(self, name: str, *tensors: str) -> Path:
        entries = {t: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i, t in enumerate(tensors)}
        header = json.dumps(entries).encode()
        (self.path / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * len(tensors)))
        return self.path / name

    def index(self, weight_map: Any) -> Path:
        (self.path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        return self.path / INDEX

    def refusal(self, error: type[Exception] = CheckpointFormatError) -> str:
        with pytest.raises(error) as caught:
            Checkpoint.open(self.path)
        text = str(caught.value)
        assert type(caught.value) is error
        assert len(text.splitlines()) <= 12
        return text


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path / "checkpoint")


def pipe(path: Path) -> None:
    """Something that whoever opens it waits for, for ever."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(path)


def test_tensors_are_found_in_the_shards_that_the_index_names(shards):
    shards.shard("a.safetensors", "x", "y")
    shards.shard("b.safetensors", "z")
    shards.index({"z": "b.safetensors", "x": "a.safetensors", "y": "a.safetensors"})

    checkpoint = Checkpoint.open(shards.path)

    assert checkpoint.files == ("a.safetensors", "b.safetensors")
    assert {name: Path(view.file.path).name for name, view in checkpoint.items()} == {
        "x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors",
    }  # fmt: skip
    assert checkpoint.unlisted == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not strict JSON"),
        (b"<html>", "not strict JSON"),
        (b"[1]", "holds an array, not an object"),
        (b"{}", "has no weight_map"),
        (b'{"weight_map": {}}', "has no weight_map"),
        (b'{"weight_map": ["a.safetensors"]}', "has no weight_map"),
        (b'{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}', "'a' stands there twice"),
        (b'{"weight_map": {"a": NaN}}', "NaN is not a JSON value"),
        (b'{"weight_map": {"a": 3}}', "the file of 'a' is 3, not a name"),
        (b'{"weight_map": {"a": null}}', "the file of 'a' is None, not a name"),
        (b'{"weight_map": {"a": ["a.safetensors"]}}', "the file of 'a' is ['a.safetensors'], not a name"),
        (b'{"weight_map": {"a": "pytorch_model.bin"}}', "the file of 'a' is 'pytorch_model.bin', not a .safetensors"),
        (b'{"weight_map": {"\\u001b[31m": "a.safetensors"}}', "'\\x1b[31m' cannot be the name of a tensor"),
        (b'{"weight_map": ' + b"[" * 99999, "nested more than"),
        (b'{"weight_map": {"a": "\xff"}}', "not UTF-8"),
    ],
)
def test_an_index_that_is_malformed_is_refused(shards, text, said):
    (shards.path / INDEX).write_bytes(text)

    refusal = shards.refusal()

    assert said in refusal
    assert INDEX in refusal


@pytest.mark.parametrize(
    "file",
    [
        "../secret.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "./a.safetensors",
        "..",
        ".",
        "",
        ".hidden.safetensors",
        "C:\\x.safetensors",
        "C:x.safetensors",
        "\\\\host\\x.safetensors",
        "a.safetensors\0",
        "a\n.safetensors",
        "a\u202e.safetensors",
        "\ud800.safetensors",
        "a.safetensors:stream",
        "*.safetensors",
        "x" * 300 + ".safetensors",
    ],
)
def test_an_index_that_leaves_the_directory_is_refused_before_anything_is_opened(shards, file):
    pipe(shards.path.parent / "secret.safetensors")
    pipe(shards.path / "good.safetensors")
    shards.index({"good": "good.safetensors", "wte.weight": file})

    refusal = shards.refusal(CheckpointSecurityError)

    assert "the file of 'wte.weight' is " in refusal
    assert "leaves the checkpoint" in refusal
    assert refusal.isprintable()


def test_names_that_the_file_system_cannot_hold_are_missing_files(shards):
    shards.index({"a": "é" * 240 + ".safetensors"})

    assert "lacks 1 of 1 weight files" in shards.refusal()


def test_all_missing_shards_are_named_at_once(shards):
    pipe(shards.path / "pipe.safetensors")
    shards.index({"x": "pipe.safetensors", **{f"t{i}": f"model-{i}.safetensors" for i in range(3)}})

    refusal = shards.refusal()

    assert "lacks 3 of 4 weight files (1 are there)" in refusal
    assert "model-0.safetensors, model-1.safetensors, model-2.safetensors" in refusal
    assert "Download the missing files" in refusal


def test_many_missing_shards_are_counted(shards):
    shards.index({f"t{i}": f"model-{i:03}.safetensors" for i in range(200)})

    assert "lacks 200 of 200 weight files (0 are there): model-000" in (refusal := shards.refusal())
    assert "and 196 more" in refusal


@pytest.mark.parametrize("make", [pipe, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("single", [True, False])
def test_what_is_no_file_is_refused_without_being_opened(shards, make, single):
    name = "model.safetensors" if single else "a.safetensors"
    make(shards.path / name)
    shards.index({"x": name})

    assert f"not a regular file: {name}" in shards.refusal()


@pytest.mark.parametrize("make", [pipe, Path.mkdir])
def test_an_index_that_is_no_file_is_refused_without_being_opened(shards, make):
    make(shards.path / INDEX)

    assert f"not a regular file: {INDEX}" in shards.refusal()


def test_tensors_that_their_shard_does_not_hold_are_named_with_the_shard(shards):
    shards.shard("a.safetensors", "x")
    shards.index({"x": "a.safetensors", "gone": "a.safetensors", "lost": "a.safetensors"})

    assert "2 tensors that their shards do not hold: gone in a.safetensors, lost in a.safetensors" in shards.refusal()


def test_a_tensor_in_two_shards_is_named_with_both(shards):
    shards.shard("a.safetensors", "x", "both")
    shards.shard("b.safetensors", "both")
    shards.index({"x": "a.safetensors", "both": "b.safetensors"})

    assert "in more than one shard: both in b.safetensors and a.safetensors" in shards.refusal()


def test_tensors_that_the_index_does_not_list_are_noted_and_left_out(shards):
    shards.shard("a.safetensors", "x", "stray", "twice")
    shards.shard("b.safetensors", "y", "twice")
    shards.index({"x": "a.safetensors", "y": "b.safetensors"})

    checkpoint = Checkpoint.open(shards.path)

    assert sorted(checkpoint) == ["x", "y"]
    assert checkpoint.unlisted == ("stray", "twice")


def test_a_broken_shard_is_named(shards):
    shards.shard("a.safetensors", "x")
    (shards.path / "b.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    shards.index({"x": "a.safetensors", "y": "b.safetensors"})

    assert "b.safetensors is a Git LFS pointer" in shards.refusal()


@pytest.mark.parametrize("name", ["model.safetensors", "a.safetensors", INDEX])
def test_a_link_that_leaves_the_directory_is_refused_before_anything_is_opened(shards, name):
    outside = shards.path.parent / "outside"
    outside.mkdir()
    Shards(outside / "files").shard("a.safetensors", "x")
    shards.index({"x": "a.safetensors"})
    (shards.path / name).unlink(missing_ok=True)
    (shards.path / name).symlink_to(outside / "files" / "a.safetensors")

    refusal = shards.refusal(CheckpointSecurityError)

    assert f"{name} is a link to {outside}" in refusal
    assert "outside the checkpoint" in refusal


def test_a_link_to_nothing_is_a_missing_file(shards):
    (shards.path / "model.safetensors").symlink_to("gone")

    assert "lacks 1 of 1 weight files (0 are there): model.safetensors" in shards.refusal()


def test_a_link_to_another_file_of_the_directory_is_fine(shards):
    shards.shard("weights.safetensors", "x")
    (shards.path / "model.safetensors").symlink_to("weights.safetensors")

    assert list(Checkpoint.open(shards.path)) == ["x"]


def test_a_checkpoint_that_is_itself_behind_a_link_is_fine(shards):
    shards.shard("model.safetensors", "x")
    (shards.path.parent / "link").symlink_to(shards.path)

    assert list(Checkpoint.open(shards.path.parent / "link")) == ["x"]


@pytest.mark.parametrize("below", ["", "text_encoder/deep"])
def test_the_links_of_a_hub_cache_lead_to_its_blobs(tmp_path, below):
    cache = tmp_path / "models--x--y"
    snapshot = Shards(cache / "snapshots" / COMMIT / below)
    (cache / "blobs").mkdir()
    for name in (snapshot.shard("a.safetensors", "x").name, snapshot.index({"x": "a.safetensors"}).name):
        (snapshot.path / name).rename(cache / "blobs" / name)
        (snapshot.path / name).symlink_to(os.path.relpath(cache / "blobs" / name, snapshot.path))

    assert list(Checkpoint.open(snapshot.path)) == ["x"]


@pytest.mark.parametrize("target", ["models--evil--z/blobs", "models--x--y/refs", "models--x--y/blobs/deep"])
def test_the_links_of_a_hub_cache_lead_nowhere_else(tmp_path, target):
    snapshot = Shards(tmp_path / "models--x--y" / "snapshots" / COMMIT)
    (tmp_path / target).mkdir(parents=True)
    snapshot.shard("model.safetensors", "x").rename(tmp_path / target / "blob")
    (snapshot.path / "model.safetensors").symlink_to(tmp_path / target / "blob")

    assert "outside the checkpoint" in snapshot.refusal(CheckpointSecurityError)


def test_a_folder_that_is_only_called_like_a_cache_is_none(tmp_path):
    snapshot = Shards(tmp_path / "my-models" / "snapshots" / COMMIT)
    (tmp_path / "my-models" / "blobs").mkdir()
    snapshot.shard("model.safetensors", "x").rename(tmp_path / "my-models" / "blobs" / "blob")
    (snapshot.path / "model.safetensors").symlink_to("../../blobs/blob")

    assert "outside the checkpoint" in snapshot.refusal(CheckpointSecurityError)


def test_an_index_of_a_hundred_thousand_tensors_is_read(shards):
    weight_map = {f"layer.{i}.weight": f"model-{i % 7}.safetensors" for i in range(100_000)}

    assert read_index(shards.index(weight_map), ".safetensors") == weight_map


def test_an_index_that_is_too_large_is_refused(shards):
    with (shards.path / INDEX).open("wb") as stream:
        stream.truncate(1 << 40)

    assert "a file of this kind is never that large" in shards.refusal()


def test_a_missing_index_is_not_found(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"index\.json is missing"):
        read_index(tmp_path / INDEX, ".safetensors")


def test_containment_is_checked_for_any_list_of_names(shards):
    shards.shard("a.safetensors", "x")

    contained_paths(shards.path, [])
    contained_paths(shards.path, ["a.safetensors"])
    with pytest.raises(CheckpointFormatError, match="lacks 1 of 2"):
        contained_paths(shards.path, ["a.safetensors", "b.safetensors"])
