"""Pushing: a saved directory becomes one commit with a card, and what is there already is not lost."""

from __future__ import annotations

import json
import traceback

import pytest

from automodels.checkpoint.journal import RECORD, Record
from automodels.checkpoint.locate import locate
from automodels.checkpoint.push import card_with, push_to_hub
from automodels.errors import (
    AutomodelsError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    HubAccessError,
    HubRateLimitError,
    InputError,
    MissingDependencyError,
)

pytest.importorskip("huggingface_hub")
# httpx says so of huggingface_hub's own uploads.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "org/model"
TOKEN = "hf_secretsecretsecret"
CARD = """---
license: mit
tags:
- bert
language:
- en
---
# Mine
"""


@pytest.fixture
def hub(fake_hub):
    fake_hub.tokens = {TOKEN: set()}
    return fake_hub


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "toy"}))
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / ".automodels-journal").write_text("of an unfinished save")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text("{}")
    return folder


def test_a_directory_becomes_one_commit_with_a_card(hub, saved):
    done = push_to_hub(saved, NAME, token=TOKEN, commit_message="First", tags=["bert", "flax"], private=True)

    repository = hub.repositories[NAME]
    files = repository.tree("main")
    assert done.url == f"{hub.url}/{NAME}/commit/{repository.refs['main']}"
    assert done.commit == repository.refs["main"]
    assert list(repository.messages.values()) == ["initial commit", "First"]
    assert repository.private
    assert sorted(files) == [".gitattributes", "1_Pooling/config.json", "README.md", "config.json", "model.safetensors"]
    assert files["model.safetensors"] == bytes(1000)
    assert (
        files["README.md"].decode().startswith("---\nlibrary_name: automodels\ntags:\n- bert\n- flax\n---\n\n# org/m")
    )


def test_what_was_pushed_can_be_located(hub, saved):
    push_to_hub(saved, NAME, token=TOKEN)

    location = locate(NAME)
    location.need("config.json", "model.safetensors")

    assert (location.directory / "model.safetensors").read_bytes() == bytes(1000)


def test_shards_of_an_earlier_save_are_removed_and_other_files_stay(hub, saved):
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    old = [*shards, "model.safetensors.index.json"]
    kept = [
        "model.fp16.safetensors",
        "pytorch_model.bin",
        "flax_model.msgpack",
        "deep/model-00001-of-00002.safetensors",
    ]
    hub.add(NAME, dict.fromkeys([*old, *kept, "vocab.txt"], b"old"))

    done = push_to_hub(saved, NAME, token=TOKEN)

    assert sorted(done.removed) == sorted(old)
    assert {*kept, "vocab.txt"} <= hub.repositories[NAME].tree("main").keys()
    assert not {*old} & hub.repositories[NAME].tree("main").keys()


def test_a_variant_replaces_its_own_shards_only(hub, saved):
    (saved / "model.safetensors").rename(saved / "model.fp16.safetensors")
    old = ["model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json", "model.safetensors"]
    hub.add(NAME, dict.fromkeys(old, b"old"))

    done = push_to_hub(saved, NAME, token=TOKEN)

    assert done.removed == tuple(old[:2])


@pytest.mark.parametrize("where", ["directory", "hub", "argument"])
def test_a_card_that_exists_keeps_its_licence_and_its_text(hub, saved, where):
    hub.add(NAME, {"README.md": CARD} if where == "hub" else {})
    if where == "directory":
        (saved / "README.md").write_text(CARD)

    push_to_hub(saved, NAME, token=TOKEN, tags=["flax", "bert"], card=CARD if where == "argument" else None)

    card = hub.repositories[NAME].tree("main")["README.md"].decode()
    assert card.endswith("---\n# Mine\n")
    assert "license: mit\ntags:\n- bert\n- flax\nlanguage:\n- en\nlibrary_name: automodels\n" in card


def test_a_library_that_is_named_already_stays(hub):
    assert "library_name: other\n" in card_with("---\nlibrary_name: other\n---\nx", [], name=NAME)
    assert card_with("just text", ["a"], name=NAME) == "---\nlibrary_name: automodels\ntags:\n- a\n---\n\njust text"
    assert card_with("---\ntags: one\n---\n", ["two"], name=NAME).startswith("---\ntags:\n- one\n- two\n")


@pytest.mark.parametrize("front", ["a: [", "- list", "text"])
def test_a_card_that_cannot_be_read_is_not_overwritten(hub, saved, front):
    (saved / "README.md").write_text(f"---\n{front}\n---\n")

    with pytest.raises(InputError, match="The front matter of README"):
        push_to_hub(saved, NAME, token=TOKEN)

    assert list(hub.repositories[NAME].tree("main")) == [".gitattributes"]


def test_a_branch_is_made_if_need_be_and_main_stays(hub, saved):
    hub.add(NAME, {"config.json": "main"})

    push_to_hub(saved, NAME, token=TOKEN, revision="next")

    repository = hub.repositories[NAME]
    assert repository.tree("main") == {"config.json": b"main"}
    assert repository.tree("next")["config.json"] == (saved / "config.json").read_bytes()


def test_a_pull_request_changes_nothing_but_is_there(hub, saved):
    hub.add(NAME, {"config.json": "main"})

    done = push_to_hub(saved, NAME, token=TOKEN, create_pr=True)

    assert done.url == f"{hub.url}/{NAME}/discussions/1"
    assert hub.repositories[NAME].tree("main") == {"config.json": b"main"}
    assert "model.safetensors" in hub.repositories[NAME].tree("refs/pr/1")


def refusal(error: type[AutomodelsError], *arguments, **options) -> str:
    with pytest.raises(AutomodelsError) as caught:
        push_to_hub(*arguments, **options)
    assert type(caught.value) is error
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


def test_without_a_token_or_with_a_wrong_one_the_way_out_is_told(hub, saved):
    for token in (False, "hf_wrong"):
        assert "hf auth login" in refusal(HubAccessError, saved, NAME, token=token)


def test_too_many_requests_are_told(hub, saved, monkeypatch):
    hub.fail("/api/repos/create", status=429, headers={"Retry-After": "9"})

    assert "Try again in 9 seconds." in refusal(HubRateLimitError, saved, NAME, token=TOKEN)


def test_a_link_out_of_the_directory_is_not_uploaded(hub, saved, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (saved / "notes.txt").symlink_to(tmp_path / "secret")

    assert "notes.txt is a link out of" in refusal(CheckpointSecurityError, saved, NAME, token=TOKEN)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a/b/c", {}, "cannot be the name of a model"),
        ("../x", {}, "cannot be the name of a model"),
        (5, {}, "cannot be the name of a model"),
        (NAME, {"commit_message": " "}, "commit_message is empty"),
        (NAME, {"tags": "bert"}, "tags is 'bert', not a list"),
        (NAME, {"tags": ["a\nb"]}, "not a list of short texts"),
        (NAME, {"revision": "../x"}, "cannot be a revision"),
        (NAME, {"token": "a b"}, "token is not printable"),
    ],
)
def test_impossible_arguments_are_refused_before_anything_is_sent(hub, saved, name, options, message):
    assert message in refusal(InputError, saved, name, **options)
    assert hub.requests == []


def test_a_directory_that_is_missing_or_empty_is_told(hub, tmp_path):
    (tmp_path / "empty").mkdir()

    assert "There is no directory" in refusal(CheckpointNotFoundError, tmp_path / "missing", NAME, token=TOKEN)
    assert "has no files to upload" in refusal(CheckpointNotFoundError, tmp_path / "empty", NAME, token=TOKEN)


def test_without_huggingface_hub_the_way_out_is_told(saved, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)

    assert 'pip install "automodels[hub]"' in refusal(MissingDependencyError, saved, NAME)


def test_a_save_that_was_interrupted_is_completed_before_anything_is_uploaded(hub, saved):
    record = Record(identity="0123456789abcdef", publish=("model.safetensors",), remove=())
    (saved / record.temporary("model.safetensors")).write_bytes(b"the new weights")
    (saved / RECORD).write_bytes(record.to_json())

    done = push_to_hub(saved, NAME, token=TOKEN)

    assert (saved / "model.safetensors").read_bytes() == b"the new weights"
    assert not (saved / RECORD).exists()
    assert "model.safetensors" in done.files
