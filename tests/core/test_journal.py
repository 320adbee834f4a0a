"""The record of an interrupted save: which file counts, and what a record cannot do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automodels.checkpoint.journal import (
    RECORD,
    RECORD_BYTES,
    Record,
    current_path,
    is_plain_name,
    is_weight_file,
    read_record,
    temporary_name,
)
from automodels.checkpoint.recovery import settle
from automodels.checkpoint.staging import staging
from automodels.errors import CheckpointError, CheckpointFormatError, CheckpointSecurityError, InputError

IDENTITY = "0123456789abcdef"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint"
    path.mkdir()
    return path


@pytest.fixture
def pending(directory: Path) -> Path:
    """A directory in which a save was decided: config.json is renamed already, the index is not."""
    (directory / "config.json").write_text("new")
    (directory / "model.safetensors").write_text("old")
    (directory / temporary_name(IDENTITY, "model.safetensors.index.json")).write_text("new index")
    record = Record(
        identity=IDENTITY, publish=("config.json", "model.safetensors.index.json"), remove=("model.safetensors",)
    )
    (directory / RECORD).write_bytes(record.to_json())
    return directory


def record(directory: Path, **changes: object) -> None:
    values = {"schema": 1, "id": IDENTITY, "publish": ["config.json"], "remove": [], **changes}
    (directory / RECORD).write_text(json.dumps(values))


def test_without_a_record_every_name_means_itself(directory):
    assert current_path(directory, "config.json") == directory / "config.json"
    assert current_path(str(directory / "nowhere"), "config.json") == directory / "nowhere" / "config.json"


def test_while_a_save_is_pending_its_files_count(pending):
    assert current_path(pending, "config.json").read_text() == "new"
    assert current_path(pending, "model.safetensors.index.json").read_text() == "new index"
    assert not current_path(pending, "model.safetensors").exists()
    assert current_path(pending, "README.md") == pending / "README.md"


def test_asking_changes_nothing(pending):
    before = sorted(os.listdir(pending))

    current_path(pending, "config.json")
    read_record(pending)

    assert sorted(os.listdir(pending)) == before


def test_settling_does_what_is_left_to_do_and_can_be_done_again(pending):
    for _ in range(2):
        settle(pending)

        assert sorted(os.listdir(pending)) == ["config.json", "model.safetensors.index.json"]
        assert current_path(pending, "model.safetensors.index.json").read_text() == "new index"


def test_settling_without_a_record_removes_only_temporary_files(directory):
    mine = [".hidden", ".automodels.toml", ".automodels-notes", f".automodels-{IDENTITY[:-1]}-x", "config.json"]
    for name in [*mine, temporary_name(IDENTITY, "config.json"), f".automodels-{IDENTITY}.commit"]:
        (directory / name).write_text("")

    settle(directory)

    assert sorted(os.listdir(directory)) == sorted(mine)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not strict JSON"),
        (b"{", "not strict JSON"),
        (b"[]", "holds an array"),
        (b'{"schema": 1, "schema": 1}', "stands there twice"),
        (b"{}", "has schema None; this version knows 1"),
        (b" " * (RECORD_BYTES + 1), "has more than 8388608 bytes"),
        (b"[" * 9999 + b"]" * 9999, "nested"),
    ],
)
def test_a_record_that_is_malformed_is_refused_by_readers_and_writers(directory, content, said):
    (directory / RECORD).write_bytes(content)

    with pytest.raises(CheckpointFormatError, match=said):
        current_path(directory, "config.json")
    with pytest.raises(CheckpointFormatError, match=said), staging(directory):
        pass
    assert os.listdir(directory) == [RECORD]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "has schema 2"),
        ({"id": "../../x"}, "has the id '../../x'"),
        ({"id": IDENTITY.upper()}, "has the id"),
        ({"id": 3}, "has the id 3"),
        ({"publish": "config.json"}, "does not say which files"),
        ({"publish": ["config.json", 3]}, "does not say which files"),
        ({"publish": ["config.json", "config.json"]}, "does not say which files"),
        ({"publish": ["model.safetensors"], "remove": ["model.safetensors"]}, "does not say which files"),
        ({"publish": ["../config.json"]}, "names '../config.json', which is no plain file name"),
        ({"publish": ["/etc/passwd"]}, "no plain file name"),
        ({"publish": [".bashrc"]}, "no plain file name"),
        ({"publish": [""]}, "no plain file name"),
        ({"publish": ["a\nb"]}, "no plain file name"),
        ({"remove": ["../model.safetensors"]}, "no plain file name"),
        ({"remove": ["notes.txt"]}, "would remove 'notes.txt', which is no weight file"),
        ({"remove": ["config.json2"]}, "no weight file"),
    ],
)
def test_a_record_that_asks_for_more_than_a_save_can_is_refused(directory, changes, said):
    record(directory, **changes)

    with pytest.raises(CheckpointFormatError, match=said) as caught:
        current_path(directory, "config.json")

    assert RECORD in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_temporary_file_that_is_a_link_or_a_directory_is_refused(directory):
    record(directory)
    secret = directory.parent / "secret"
    secret.write_text("{}")
    temporary = directory / temporary_name(IDENTITY, "config.json")
    temporary.symlink_to(secret)

    with pytest.raises(CheckpointSecurityError, match="is no regular file"):
        current_path(directory, "config.json")
    temporary.unlink()
    temporary.mkdir()
    with pytest.raises(CheckpointSecurityError, match="is no regular file"):
        current_path(directory, "config.json")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("elsewhere"), os.mkfifo])
def test_a_record_that_is_no_regular_file_is_refused(directory, make):
    make(directory / RECORD)

    with pytest.raises(CheckpointSecurityError, match="is no regular file"):
        current_path(directory, "config.json")


@given(st.binary(max_size=200) | st.from_regex(rb'\A\{"schema": 1, "id": "[0-9a-f]{16}", .{0,99}\}\Z'))
def test_whatever_stands_there_is_a_typed_error_or_stays_in_the_directory(tmp_path_factory, content):
    directory = tmp_path_factory.mktemp("fuzzed")
    (directory / RECORD).write_bytes(content)

    try:
        path = current_path(directory, "config.json")
    except CheckpointError:
        return
    assert path.parent == directory


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "a\\b", "a:b", "a\0", "a\n", "x" * 201, "é" * 101, "a*"])
def test_names_that_are_not_plain(name, directory):
    assert not is_plain_name(name)
    with pytest.raises(InputError, match="cannot be the name of a file"), staging(directory) as stage, stage.file(name):
        pass
    assert os.listdir(directory) == []


@pytest.mark.parametrize("name", ["config.json", "README.md", "model.py", "tokenizer.json", "x-model.safetensors"])
def test_names_that_are_not_those_of_weights(name):
    assert not is_weight_file(name)


def test_what_is_staged_and_not_committed_leaves_no_trace(directory):
    with staging(directory / "new") as stage, stage.file("config.json") as output:
        output.write(b"{}")

    assert not (directory / "new").exists()


def test_a_file_cannot_be_staged_twice(directory):
    with staging(directory) as stage:
        with stage.file("config.json"):
            pass
        with pytest.raises(InputError, match="was written already"), stage.file("config.json"):
            pass
