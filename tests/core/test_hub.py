"""Models on the Hub: one commit, only the files that are needed, and a clear word for everything that goes wrong.

huggingface_hub is the real one; it talks to a fake Hub on the loopback.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

import automodels
from automodels.checkpoint import hub_client
from automodels.checkpoint.index import contained_paths
from automodels.checkpoint.locate import locate
from automodels.checkpoint.needed import fetch_weights
from automodels.errors import (
    AutomodelsError,
    CheckpointFormatError,
    CheckpointNotFoundError,
    CheckpointSecurityError,
    HubAccessError,
    HubError,
    HubOfflineError,
    HubRateLimitError,
    HubUnavailableError,
    InputError,
    MissingDependencyError,
    UnknownArgumentError,
)
from automodels.families.sentence_transformers import read_settings

pytest.importorskip("huggingface_hub")

NAME = "org/model"
TOKEN = "hf_secretsecretsecret"
SHARDS = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
BODY = bytes(range(256)) * 4096
FILES = {
    "config.json": json.dumps({"model_type": "toy", "width": 4}),
    "model.safetensors": BODY,
    "pytorch_model.bin": b"no",
    "flax_model.msgpack": b"no",
    "tf_model.h5": b"no",
    "onnx/model.onnx": b"no",
    "tokenizer.json": "{}",
    "vocab.txt": "a",
    "README.md": "# Model",
}


@pytest.fixture
def repository(fake_hub):
    return fake_hub.add(NAME, FILES)


@pytest.fixture
def patient(monkeypatch):
    """Nobody waits between attempts, neither the client nor we; the seconds that would have passed."""
    waited = []

    class Clock:
        sleep = waited.append

        def __getattr__(self, name):
            return getattr(time, name)

    monkeypatch.setattr("huggingface_hub.utils._http.time", Clock())
    monkeypatch.setattr("huggingface_hub.file_download.time", Clock())
    monkeypatch.setattr(hub_client, "time", Clock())
    return waited


def refusal(error: type[AutomodelsError], *names: str, name: str = NAME, **options) -> str:
    """The text of the error that locating a model and fetching some files ends with."""
    with pytest.raises(AutomodelsError) as caught:
        locate(name, **options).need(*(names or ["config.json"]))
    assert type(caught.value) is error, caught.value
    text = str(caught.value)
    assert len(text.splitlines()) <= 12
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert TOKEN not in repr(caught.value)
    return text


def downloaded(fake_hub) -> list[str]:
    """Names of the files that were asked for with GET or HEAD, each once."""
    return sorted({path.rpartition("/")[2] for path in fake_hub.asked(path="/resolve/")})


def cached(path: Path) -> list[str]:
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())


# What is fetched


def test_locating_fetches_nothing_but_the_list_of_files(fake_hub, repository):
    location = locate(NAME)

    assert (location.name, location.source, location.commit) == (NAME, "hub", repository.refs["main"])
    assert location.directory.name == repository.refs["main"]
    assert downloaded(fake_hub) == []
    assert len(fake_hub.asked(path="/api/models/")) == 1


def test_a_config_needs_one_file(fake_hub, repository, site):
    site.toy("good-toy")

    config = automodels.AutoConfig.from_pretrained(NAME)

    assert config.width == 4
    assert config.name_or_path == NAME
    assert downloaded(fake_hub) == ["config.json"]


def test_of_all_formats_only_one_is_downloaded(fake_hub, repository):
    location = locate(NAME)

    fetch_weights(location)

    assert downloaded(fake_hub) == ["model.safetensors"]
    assert (location.directory / "model.safetensors").read_bytes() == BODY


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"from_flax": True}, ["flax_model.msgpack"]),
        ({"use_safetensors": False}, ["flax_model.msgpack"]),
        ({"use_safetensors": False, "from_pt": True}, ["pytorch_model.bin"]),
    ],
)
def test_another_format_is_downloaded_when_it_is_asked_for(fake_hub, repository, options, expected):
    fetch_weights(locate(NAME), **options)

    assert downloaded(fake_hub) == expected


@pytest.mark.parametrize("index", ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"])
def test_of_a_variant_the_index_and_its_shards_are_downloaded(fake_hub, repository, index):
    shards = [name.replace("model-", "model.fp16-") for name in SHARDS]
    content = json.dumps({"weight_map": {f"t{number}": name for number, name in enumerate(shards)}})
    repository.commit({index: content, **dict.fromkeys(shards, b"x"), **dict.fromkeys(SHARDS, b"y")})

    fetch_weights(locate(NAME), variant="fp16")

    assert downloaded(fake_hub) == sorted([*shards, index])


def test_weights_that_are_not_there_are_told_with_those_that_are(fake_hub):
    fake_hub.add(NAME, {"config.json": "{}", "tf_model.h5": b"no"})

    with pytest.raises(CheckpointNotFoundError, match=r"has no weights of the kind .* it has tf_model\.h5\."):
        fetch_weights(locate(NAME))


def test_shards_that_the_hub_lacks_are_counted(fake_hub):
    content = json.dumps({"weight_map": {f"t{number}": name for number, name in enumerate(SHARDS)}})
    fake_hub.add(NAME, {"model.safetensors.index.json": content, SHARDS[0]: b"x"})

    with pytest.raises(CheckpointNotFoundError, match=f"lacks 2 of 3 files: {SHARDS[1]}, {SHARDS[2]}"):
        fetch_weights(locate(NAME))


def test_a_tokenizer_needs_its_own_files_and_the_preferred_one_only(fake_hub, repository):
    repository.commit({"tokenizer_config.json": "{}"})

    with pytest.raises(CheckpointFormatError):  # the file is none, but it was the right one
        automodels.AutoTokenizer.from_pretrained(NAME)

    assert downloaded(fake_hub) == ["tokenizer.json", "tokenizer_config.json"]


def test_sentence_embeddings_need_what_their_modules_name(fake_hub, repository):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": 4, "pooling_mode_cls_token": True}
    repository.commit(
        {
            "modules.json": json.dumps(modules),
            "1_Pooling/config.json": json.dumps(pooling),
            "2_Other/config.json": "{}",
            "sentence_bert_config.json": json.dumps({"max_seq_length": 32}),
        }
    )

    settings = read_settings(locate(NAME))

    assert (settings.pooling, settings.max_seq_length) == (("cls",), 32)
    assert downloaded(fake_hub) == ["config.json", "modules.json", "sentence_bert_config.json"]
    assert not fake_hub.asked(path="2_Other")


def test_a_subfolder_is_a_checkpoint_of_its_own(fake_hub, repository):
    repository.commit({"deep/er/config.json": "{}", "deep/er/model.safetensors": b"x"})

    location = locate(NAME, subfolder="deep/er/")
    location.need("config.json")

    assert location.names() == ("config.json", "model.safetensors")
    assert (location.directory / "config.json").read_text() == "{}"
    assert "has no subfolder 'other'" in refusal(CheckpointNotFoundError, subfolder="other")
    assert "leaves the checkpoint" in refusal(CheckpointSecurityError, subfolder="../other")


def test_what_is_in_the_cache_is_not_asked_for_again(fake_hub, repository):
    locate(NAME).need("config.json", "model.safetensors")
    fake_hub.requests.clear()

    locate(NAME).need("config.json", "model.safetensors")

    assert len(fake_hub.asked(path="/api/models/")) == 1
    assert downloaded(fake_hub) == []


def test_force_download_downloads_once_more_and_not_twice(fake_hub, repository):
    locate(NAME).need("config.json")
    fake_hub.requests.clear()

    location = locate(NAME, force_download=True)
    location.need("config.json")
    location.need("config.json")

    assert len(fake_hub.asked("GET", "/resolve/")) == 1


def test_a_file_that_was_cut_in_the_cache_is_downloaded_again(fake_hub, repository):
    location = locate(NAME)
    location.need("model.safetensors")
    os.truncate(location.directory / "model.safetensors", 10)

    locate(NAME).need("model.safetensors")

    assert (location.directory / "model.safetensors").read_bytes() == BODY


def test_the_cache_can_lie_elsewhere(fake_hub, repository, tmp_path):
    location = locate(NAME, cache_dir=tmp_path / "elsewhere")
    location.need("config.json")

    assert location.directory.is_relative_to(tmp_path / "elsewhere")
    assert not (tmp_path / "hub-cache").exists()


def test_a_cache_that_is_reached_by_a_link_serves(fake_hub, repository, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    location = locate(NAME, cache_dir=tmp_path / "link")
    location.need("config.json")

    assert (location.directory / "config.json").is_file()


def test_weights_that_several_models_share_in_the_cache_are_inside_it(fake_hub, repository, tmp_path):
    location = locate(NAME)
    location.need("model.safetensors")
    blob = (location.directory / "model.safetensors").resolve()
    shared = tmp_path / "hub-cache/blobs/ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    (tmp_path / "secret").write_bytes(BODY)

    assert contained_paths(location.directory, ["model.safetensors"])
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointSecurityError):
        contained_paths(location.directory, ["model.safetensors"])


def test_a_directory_wins_over_a_name_on_the_hub(fake_hub, repository):
    Path(NAME).mkdir(parents=True)

    location = locate(NAME)

    assert location.source == "directory"
    assert fake_hub.requests == []


def test_an_unknown_option_is_refused_and_a_known_one_is_not(fake_hub, repository, site):
    site.toy("good-toy")

    with pytest.raises(UnknownArgumentError, match="revison"):
        automodels.AutoConfig.from_pretrained(NAME, revison="main")

    assert automodels.AutoConfig.from_pretrained(NAME, revision="main", local_files_only=False, token=None).width == 4


def test_a_model_is_loaded_from_the_commit_of_its_config(fake_hub, repository, site):
    site.toy("good-toy")

    model = automodels.AutoModel.from_pretrained(NAME, revision=repository.refs["main"])
    resolution = automodels.resolve(NAME, revision="main")

    assert model.config.width == 4
    assert resolution.entry.plugin.name == "good-toy"


# One commit


def test_all_files_are_of_one_commit_although_the_branch_moves_between_them(fake_hub, repository):
    location = locate(NAME)
    location.need("config.json")
    repository.commit({"model.safetensors": b"new", "config.json": "new"})
    location.need("model.safetensors")

    later = locate(NAME)
    later.need("model.safetensors")

    assert (location.directory / "model.safetensors").read_bytes() == BODY
    assert (later.directory / "model.safetensors").read_bytes() == b"new"
    assert location.commit != later.commit


def test_a_file_that_claims_another_commit_is_refused(fake_hub, repository):
    other = repository.commit({"config.json": "other"}, ref="other")
    fake_hub.fail("/resolve/", headers={"X-Repo-Commit": other})

    assert "came from another commit" in refusal(CheckpointFormatError)


@pytest.mark.parametrize("revision", ["v1", "refs/pr/1", "feature/x", "commit"])
def test_branches_tags_pull_requests_and_commits_are_revisions(fake_hub, repository, revision):
    sha = repository.commit({"config.json": "older"}, ref="v1")
    repository.refs |= {"refs/pr/1": sha, "feature/x": sha}

    location = locate(NAME, revision=sha if revision == "commit" else revision)
    location.need("config.json")

    assert location.commit == sha
    assert (location.directory / "config.json").read_text() == "older"


def test_a_commit_that_is_in_the_cache_needs_no_network(fake_hub, repository):
    commit = repository.refs["main"]
    locate(NAME).need("config.json")
    fake_hub.requests.clear()

    locate(NAME, revision=commit).need("config.json")

    assert fake_hub.requests == []


@pytest.mark.parametrize("revision", ["../x", "/x", "x/../y", "a b", "x\n", "-x", "", "x//y", "x" * 201, 3, "a\\b"])
def test_what_cannot_be_a_revision_is_refused_before_anything_is_asked(fake_hub, repository, revision):
    assert "cannot be a revision" in refusal(InputError, revision=revision)
    assert fake_hub.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "a b"}, "token is not printable text"),
        ({"token": f"{TOKEN}\n"}, "token is not printable text"),
        ({"token": 5}, "token is not printable text"),
        ({"force_download": 1}, "force_download is 1, not True or False"),
        ({"local_files_only": "yes"}, "local_files_only is 'yes', not True or False"),
        ({"force_download": True, "local_files_only": True}, "contradict each other"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_asked(fake_hub, repository, options, message):
    assert message in refusal(InputError, **options)
    assert fake_hub.requests == []


@pytest.mark.parametrize(
    "name", ["org/../x", "org/..", "a/b/c", "org/.hidden", "../org/x", "org/x--y", "x" * 97, "org\\x"]
)
def test_tricks_with_names_never_reach_the_network(fake_hub, name):
    assert "There is no directory" in refusal(CheckpointNotFoundError, name=name)
    assert fake_hub.requests == []


def test_a_listing_cannot_lead_out_of_the_cache(fake_hub, tmp_path):
    fake_hub.add(NAME, {"../../evil.json": "{}", "/etc/evil": "{}", "a/../../b": "{}", "config.json": "{}"})

    assert locate(NAME).snapshot.names() == ("config.json",)


# What goes wrong

FAULTS = {
    "401": ({"status": 401}, HubAccessError, "The Hub refused the token for org/model (status 401).", "hf auth login"),
    "403": ({"status": 403}, HubAccessError, "gives no access to org/model (status 403)", "Ask for access at http://"),
    "404": ({"status": 404}, CheckpointNotFoundError, "The Hub does not have org/model (status 404)", "Check the name"),
    "429": (
        {"status": 429, "headers": {"Retry-After": "17"}},
        HubRateLimitError, "too many requests and refused org/model (status 429)", "Try again in 17 seconds.",
    ),
    "429 and no word when": ({"status": 429}, HubRateLimitError, "too many requests", "Try again in some minutes."),
    "418": ({"status": 418}, HubError, "The Hub refused org/model (status 418).", "Look at http://"),
    "500": ({"status": 500}, HubUnavailableError, "The Hub failed at org/model (status 500)", "local_files_only=True"),
    "503": ({"status": 503}, HubUnavailableError, "The Hub failed at org/model (status 503)", "local_files_only=True"),
    "a page that is no JSON": ({"status": 200}, HubUnavailableError, "when asked for org/model", "Check the network"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "error", "message", "hint"), FAULTS.values(), ids=FAULTS.keys())
def test_an_answer_that_is_no_listing_says_what_it_means(
    fake_hub, repository, patient, fault, error, message, hint
):  # fmt: skip
    fake_hub.fail("/api/models/", **fault)

    text = refusal(error, token=False)

    assert message in text
    assert hint in text


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 403}, HubAccessError),
        ({"status": 404}, CheckpointNotFoundError),
        ({"status": 429, "headers": {"Retry-After": "3"}}, HubRateLimitError),
        ({"status": 500}, HubUnavailableError),
    ],
)
def test_a_file_that_is_refused_says_what_it_means(fake_hub, repository, patient, fault, error):
    fake_hub.fail("/resolve/", **fault)

    assert "config.json of org/model (commit " in refusal(error)


def test_a_hub_that_fails_for_a_moment_is_asked_again(fake_hub, repository, patient):
    fake_hub.fail("/api/models/", status=503, times=2)

    locate(NAME).need("config.json")

    assert patient == [0.5, 1.0]


def test_a_hub_that_cannot_be_reached_is_named(fake_hub, repository, patient):
    fake_hub.close()

    text = refusal(HubUnavailableError)

    assert f"{fake_hub.url}/org/model could not be reached or broke off" in text
    fake_hub._server.server_close()


def test_a_hub_that_is_too_slow_is_not_waited_for(fake_hub, repository, patient, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.1)
    fake_hub.fail("/api/models/", delay=0.5)

    assert "could not be reached or broke off" in refusal(HubUnavailableError)


def test_a_password_in_the_address_of_the_hub_is_not_shown(fake_hub, repository, patient, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", fake_hub.url.replace("//", f"//me:{TOKEN}@"))
    fake_hub.fail("/api/models/", status=403)

    with pytest.raises(HubAccessError) as caught:
        locate(NAME)

    assert fake_hub.url in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_model_that_is_not_there_may_be_private(fake_hub):
    text = refusal(CheckpointNotFoundError, name="org/nothing")

    assert f"There is no directory org/nothing, and no model on the Hub at {fake_hub.url}/org/nothing" in text
    assert "hf auth login" in text


def test_a_revision_that_is_not_there_is_named(fake_hub, repository):
    text = refusal(CheckpointNotFoundError, revision="v9")

    assert "The Hub does not have the revision v9 of org/model." in text


def test_a_file_that_is_not_there_is_named(fake_hub, repository):
    assert "on the Hub lacks missing.json" in refusal(CheckpointNotFoundError, "missing.json")


def test_a_gated_model_says_where_its_terms_are_accepted(fake_hub):
    fake_hub.add(NAME, FILES, gated=True)
    fake_hub.tokens = {TOKEN: set()}

    for token in (False, TOKEN):
        text = refusal(HubAccessError, token=token)
        assert "is given only to people who accepted its terms" in text
        assert f"Accept them at {fake_hub.url}/org/model" in text

    fake_hub.tokens[TOKEN].add(NAME)
    locate(NAME, token=TOKEN).need("config.json")


def test_a_private_model_is_given_to_its_token_which_never_reaches_storage(fake_hub, monkeypatch):
    fake_hub.add(NAME, FILES, private=True)
    fake_hub.tokens = {TOKEN: set()}
    refusal(CheckpointNotFoundError)

    location = locate(NAME, token=TOKEN)
    location.need("config.json", "model.safetensors")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    locate(NAME, force_download=True).need("config.json")

    with_token = [seen for seen in fake_hub.requests if "authorization" in seen.headers]
    assert {seen.headers["authorization"] for seen in with_token} == {f"Bearer {TOKEN}"}
    assert not any("/storage/" in seen.path for seen in with_token)


def test_a_token_is_neither_printed_nor_pickled(fake_hub, repository, log, capsys):
    fake_hub.tokens = {TOKEN: set()}

    location = locate(NAME, token=TOKEN)
    location.need("config.json")

    assert TOKEN not in f"{location!r} {location} {location.snapshot!r} {location.snapshot.options!r}"
    assert TOKEN.encode() not in pickle.dumps(location)
    assert pickle.loads(pickle.dumps(location)).directory == location.directory
    assert TOKEN not in log.text + "".join(capsys.readouterr())


def test_a_wrong_token_is_told(fake_hub, repository):
    assert "The Hub refused the token for org/model" in refusal(HubAccessError, token=TOKEN)


def test_without_huggingface_hub_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)

    text = refusal(MissingDependencyError)

    assert "There is no directory org/model, and a model on the Hub needs huggingface_hub" in text
    assert 'pip install "automodels[hub]"' in text


def test_a_cache_that_cannot_be_written_is_told(fake_hub, repository, tmp_path):
    (tmp_path / "hub-cache").write_text("a file")

    assert "could not be put into the cache" in refusal(HubError)


# Files that arrive damaged


def test_a_download_that_breaks_off_is_resumed_where_it_broke(fake_hub, repository, patient, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    fake_hub.fail("/storage/", cut=100_000, times=2)

    location = locate(NAME)
    for _ in range(3):
        with contextlib.suppress(HubUnavailableError):  # until version 0.36 the client resumes when asked again
            location.need("model.safetensors")

    ranges = [seen.headers.get("range") for seen in fake_hub.requests if "/storage/" in seen.path]
    assert ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert (location.directory / "model.safetensors").read_bytes() == BODY


def test_a_file_of_another_size_is_refused_and_not_kept(fake_hub, repository, patient):
    fake_hub.fail("/storage/", content=BODY[:-1], times=1)

    assert "it has another size than the Hub says" in refusal(CheckpointFormatError, "model.safetensors")

    locate(NAME).need("model.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_other_content_is_refused_and_not_kept(fake_hub, repository, name):
    data = FILES[name]
    wrong = b"x" * len(data)
    fake_hub.fail("/storage/" if name == "model.safetensors" else "/resolve/", method="GET", content=wrong, times=1)

    text = refusal(CheckpointFormatError, name)
    location = locate(NAME)
    location.need(name)

    assert "is not what the Hub lists: it has the hash" in text
    assert (location.directory / name).read_bytes() == (data if isinstance(data, bytes) else data.encode())


def test_of_several_files_one_that_fails_stops_the_others_and_nothing_half_is_left(fake_hub):
    fake_hub.add(NAME, dict.fromkeys(SHARDS, BODY) | {SHARDS[1]: b"other"})
    fake_hub.fail(SHARDS[1], status=403)

    refusal(HubAccessError, *SHARDS)

    assert all((path.stat().st_size == len(BODY)) for path in locate(NAME).directory.glob("*.safetensors"))


# Without a network


def test_offline_the_cache_is_enough_and_what_it_lacks_is_named(fake_hub, repository):
    locate(NAME).need("config.json")
    fake_hub.requests.clear()

    location = locate(NAME, local_files_only=True)
    location.need("config.json")

    assert location.names() == ("config.json",)
    assert "The cache lacks model.safetensors of org/model (commit " in refusal(
        HubOfflineError, "model.safetensors", local_files_only=True
    )
    assert "nothing of the revision v9 of org/model" in refusal(HubOfflineError, revision="v9", local_files_only=True)
    assert fake_hub.requests == []


def test_offline_by_the_clients_variable_says_so(fake_hub, repository, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert "downloads are switched off (HF_HUB_OFFLINE)" in refusal(HubOfflineError)
    assert "HF_HUB_OFFLINE is set" in refusal(HubOfflineError, force_download=True)
    assert fake_hub.requests == []


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}])
def test_when_the_hub_fails_the_cache_is_taken_with_a_warning(fake_hub, repository, log, patient, fault):
    locate(NAME).need("config.json")
    fake_hub.fail("/api/models/", **fault)

    location = locate(NAME)
    location.need("config.json")

    (warning,) = [record for record in log.records if record.levelno == logging.WARNING and record.name == "automodels"]
    assert f"Taken from the cache: org/model (commit {location.commit[:8]})." in warning.getMessage()
    assert patient == []
    assert "status" in refusal(type(_failure(fake_hub)), force_download=True)


def _failure(fake_hub) -> AutomodelsError:
    with pytest.raises(AutomodelsError) as caught:
        locate("org/other")
    return caught.value


WRITES = """
import os, sys
cache = os.environ["HF_HUB_CACHE"]
touched = []
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event not in {f"os.{name}" for name in "mkdir rename remove rmdir symlink link chmod utime truncate".split()}:
        return
    if any(isinstance(argument, (str, bytes)) and cache in os.fsdecode(argument) for argument in arguments):
        touched.append((event, arguments[0]))
sys.addaudithook(watch)
from automodels.checkpoint.locate import locate
location = locate("org/model")
location.need("config.json", "model.safetensors")
print(len((location.directory / "model.safetensors").read_bytes()), touched)
"""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_from_a_full_cache_nothing_is_written_online_or_offline(fake_hub, repository, monkeypatch, offline):
    locate(NAME).need("config.json", "model.safetensors")
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)

    done = subprocess.run([sys.executable, "-c", WRITES], capture_output=True, text=True, check=False)

    assert done.stdout == f"{len(BODY)} []\n", done.stderr


def test_a_cache_on_a_read_only_folder_serves(fake_hub, repository, tmp_path):
    locate(NAME).need("config.json")
    repository.refs["v1"] = repository.refs["main"]
    before = cached(tmp_path / "hub-cache")
    folders = [path for path in [tmp_path / "hub-cache", *(tmp_path / "hub-cache").rglob("*")] if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)

    try:
        locate(NAME).need("config.json")
        locate(NAME, local_files_only=True).need("config.json")
        locate(NAME, revision="v1").need("config.json")
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert set(before) <= set(cached(tmp_path / "hub-cache"))


# Several at once


def test_eight_processes_end_with_one_intact_snapshot(fake_hub, tmp_path):
    repository = fake_hub.add(NAME, {"config.json": "{}", **dict.fromkeys(SHARDS, BODY), SHARDS[2]: BODY[::-1]})
    fake_hub.fail("/storage/", delay=0.3)
    names = ["config.json", *SHARDS]
    code = f"from automodels.checkpoint.locate import locate\nlocate({NAME!r}).need(*{names!r})"

    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(8)]
    said = [process.communicate(timeout=120)[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0] * 8, said
    (snapshot,) = (tmp_path / "hub-cache/models--org--model/snapshots").iterdir()
    assert snapshot.name == repository.refs["main"]
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == repository.tree("main")
    assert not [name for name in cached(tmp_path / "hub-cache") if "incomplete" in name]


def test_progress_bars_go_to_stderr_and_no_terminal_is_needed(fake_hub, repository):
    code = f"from automodels.checkpoint.locate import locate\nlocate({NAME!r}).need('model.safetensors')"

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr
