"""`registry lock` and `registry lock --check`."""

from __future__ import annotations

import json
import os

import pytest

from automodels.testing.sites import model_table


@pytest.fixture
def toys(site):
    site.plugin("toy-flax", "{head}" + model_table("toy_flax"))
    site.plugin("toy-torch", "{head}" + model_table("toy_torch", framework="torch"))


@pytest.fixture
def model(tmp_path):
    """A checkpoint in the working directory."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "toy"}')
    (tmp_path / "model" / "model.safetensors").write_bytes(b"abc")
    return tmp_path / "model"


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "automodels.lock"


def locked(lock):
    return json.loads(lock.read_text())


def test_a_lock_is_written_and_says_what_is_in_it(here, toys, model, lock, capsys):
    assert here(["lock", "model"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("automodels.lock: written, ")
    assert out.endswith("1 checkpoint of 2 files, 24 B\n")
    assert list(locked(lock)["checkpoints"]) == ["./model"]
    assert locked(lock)["decisions"]["toy"]["base"]["any"]["plugin"] == "toy-flax"


def test_writing_it_again_changes_no_byte_and_does_not_write(here, toys, model, lock, capsys):
    here(["lock", "model"])
    before, inode = lock.read_bytes(), lock.stat().st_ino

    assert here(["lock"]) == 0

    assert (lock.read_bytes(), lock.stat().st_ino) == (before, inode)
    assert "automodels.lock: unchanged, " in capsys.readouterr().out


def test_what_was_locked_stays_until_it_is_removed(here, toys, model, lock, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "toy"}')
    here(["lock", "model"])
    here(["lock", "./other/"])
    both = list(locked(lock)["checkpoints"])

    assert here(["lock", "--remove", "model"]) == 0

    assert both == ["./model", "./other"]
    assert list(locked(lock)["checkpoints"]) == ["./other"]
    assert "  ./model: is locked no longer" in capsys.readouterr().out


def test_writing_it_anew_names_what_is_different(here, toys, model, lock, site, capsys):
    here(["lock", "model"])
    (model / "model.safetensors").write_bytes(b"abd")
    (site.path / "toy_torch-1.0.dist-info").rename(site.path / "toy_torch-1.5.dist-info")
    capsys.readouterr()

    assert here(["lock"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("automodels.lock: written")
    assert lines[1:] == ["  toy-torch: 1.5 is installed; 1.0 is locked", "  ./model: has changed"]
    assert here(["lock", "--check"]) == 0


def test_nothing_different_is_exit_code_0(here, toys, model, lock, capsys):
    here(["lock", "model"])
    capsys.readouterr()

    assert here(["lock", "--check"]) == 0

    assert capsys.readouterr().out.startswith("automodels.lock: everything is as it was locked, ")


def test_every_difference_is_a_line_and_exit_code_1(here, toys, model, lock, site, capsys):
    here(["lock", "model"])
    (model / "model.safetensors").write_bytes(b"abd")
    (model / "new.txt").write_text("new")
    (model / "config.json").unlink()
    site.plugin("toy-rival", "{head}" + model_table("toy_rival"))
    (site.path / "toy_torch-1.0.dist-info").rename(site.path / "toy_torch-1.5.dist-info")
    before = lock.read_bytes()
    capsys.readouterr()

    assert here(["lock", "--check"]) == 1
    (model / "config.json").write_text('{"model_type": "toy"}')
    first = capsys.readouterr()
    assert here(["lock", "--check"]) == 1

    lines = capsys.readouterr().out.splitlines()
    decisions = [
        "toy-torch: 1.5 is installed; 1.0 is locked",
        "base for toy: would get nothing (AM102); toy-flax (toy_flax.modeling:ToyModel) is locked",
        "base for toy: would get nothing (AM102) with framework=flax; toy-flax (toy_flax.modeling:ToyModel) is locked",
    ]
    assert first.out.splitlines()[:3] == lines[:3] == decisions
    assert "config.json is missing" in first.out
    assert "4 differences from automodels.lock." in first.err
    assert lines[3:] == ["./model: model.safetensors has other bytes than those that are locked (sha256)",
                         "./model: new.txt is new"]  # fmt: skip
    assert lock.read_bytes() == before


def test_a_new_plugin_that_changes_no_decision_is_a_note(here, toys, lock, site, capsys):
    here(["lock"])
    site.plugin("other", "{head}" + model_table("other", model_type="other"))
    capsys.readouterr()

    assert here(["lock", "--check"]) == 0

    assert "Not in automodels.lock: other, which changes nothing that is locked." in capsys.readouterr().err


def test_some_checkpoints_can_be_compared_and_one_that_is_not_locked_is_a_difference(here, toys, model, lock, capsys):
    here(["lock", "model"])

    assert here(["lock", "--check", "model"]) == 0
    assert here(["lock", "--check", str(model)]) == 0
    assert here(["lock", "--check", "model", "never"]) == 1

    assert "never: is not in the lock file" in capsys.readouterr().out


def test_documents_have_every_difference(here, toys, model, lock, capsys):
    here(["lock", "model", "--json"])
    written = json.loads(capsys.readouterr().out)
    (model / "model.safetensors").unlink()

    assert here(["lock", "--check", "--json"]) == 1

    document = json.loads(capsys.readouterr().out)
    assert (written["kind"], written["written"], written["ok"]) == ("lock", True, True)
    assert written["checkpoints"] == ["./model"]
    assert (document["kind"], document["written"], document["ok"]) == ("lock", False, False)
    assert document["drift"] == [{"kind": "file", "subject": "./model", "message": "model.safetensors is missing"}]


def test_the_lock_in_force_is_the_one_that_is_meant_then_the_nearest(here, toys, tmp_path, monkeypatch, capsys):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    here(["lock"])
    monkeypatch.chdir(deep)
    assert here(["lock", "--check"]) == 0
    monkeypatch.setenv("AUTOMODELS_LOCK", str(tmp_path / "ci.lock"))

    assert here(["lock"]) == 0

    assert (tmp_path / "ci.lock").exists()
    assert list(deep.iterdir()) == []
    assert f"{os.path.join('..', '..', 'automodels.lock')}: everything" in capsys.readouterr().out


def test_a_lock_in_force_is_exit_code_4_when_something_else_would_be_taken(here, toys, model, monkeypatch, capsys):
    here(["lock"])
    monkeypatch.setenv("AUTOMODELS_LOCK", "automodels.lock")
    assert here(["explain", "model"]) == 0
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "torch")

    assert here(["explain", "model"]) == 4

    assert "LockError [AM107]: This is not what automodels.lock says:" in capsys.readouterr().err


def test_a_locked_checkpoint_that_is_gone_says_how_to_go_on(here, toys, model, lock, capsys):
    here(["lock", "model"])
    for file in model.iterdir():
        file.unlink()
    model.rmdir()
    before = lock.read_bytes()

    assert here(["lock"]) == 2
    assert here(["lock", "--check"]) == 1

    captured = capsys.readouterr()
    assert "registry lock --remove ./model" in captured.err
    assert "./model: There is no directory" in captured.out
    assert lock.read_bytes() == before
    assert here(["lock", "--remove", "./model"]) == 0


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["lock", "./missing"], 3, "There is no directory ./missing"),
        (["lock", "--check"], 2, "There is no lock file automodels.lock"),
        (["lock", "--remove", "x"], 2, "'x' is not in automodels.lock"),
        (["lock", "--check", "--remove", "x"], 2, "there is nothing to --remove"),
        (["lock", "model/config.json"], 3, "is a file; a checkpoint is a directory"),
        (["lock", "bad"], 5, "is not strict JSON"),
        (["lock", "odd"], 2, "is not a name"),
        (["lock", "s3://bucket/model"], 3, "No installed plugin reads"),
        (["lock", "pkg:no-such-distribution/x"], 3, "is not installed"),
        (["lock", ""], 2, "cannot be the name of a checkpoint"),
        (["lock", "--file", "no/such/folder.lock"], 2, "cannot be written"),
        (["lock", "--file", "."], 2, "is not a regular file"),
        (["lock", "--file", "model/config.json"], 2, "is not a lock file of this version"),
    ],
)
def test_what_cannot_be_locked_is_one_message_and_nothing_is_written(
    here, toys, model, lock, tmp_path, capsys, command, code, said
):
    for name, text in (("bad", "{"), ("odd", '{"model_type": "\\u001b[2J"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)

    assert here(command) == code

    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert not lock.exists()
    assert (model / "config.json").read_text() == '{"model_type": "toy"}'


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}", b'{"kind": "lock", "schema": 9}', b"[" * 5000])
@pytest.mark.parametrize("command", [["lock"], ["lock", "--check"], ["lock", "--remove", "x"]])
def test_a_malformed_lock_is_exit_code_2_and_stays(here, toys, lock, capsys, content, command):
    lock.write_bytes(content)

    assert here(command) == 2

    assert lock.read_bytes() == content
    assert "automodels.lock" in capsys.readouterr().err


def test_a_checkpoint_with_a_pipe_in_it_does_not_make_us_wait(here, toys, model, lock, capsys):
    os.mkfifo(model / "weights.bin")

    assert here(["lock", "model"]) == 5

    assert "not a regular file: weights.bin" in capsys.readouterr().err
    assert not lock.exists()


def test_a_directory_that_is_no_checkpoint_is_not_walked(here, toys, lock, tmp_path, capsys):
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    (tmp_path / "loop" / "gone").symlink_to(tmp_path / "nowhere")

    assert here(["lock", "loop"]) == 3

    assert "config.json is missing" in capsys.readouterr().err


def test_a_link_to_nowhere_in_a_checkpoint_is_an_error(here, toys, model, lock, tmp_path, capsys):
    (model / "gone.bin").symlink_to(tmp_path / "nowhere")

    assert here(["lock", "model"]) == 5

    assert "gone.bin" in capsys.readouterr().err


def test_links_to_folders_are_not_followed(here, toys, model, lock, capsys):
    (model / "again").symlink_to(model)

    assert here(["lock", "model"]) == 0

    assert list(locked(lock)["checkpoints"]["./model"]["files"]) == ["config.json", "model.safetensors"]


def test_strict_mode_locks_nothing_while_something_is_wrong(here, toys, site, lock, monkeypatch, capsys):
    site.plugin("bad", "[[[")
    monkeypatch.setenv("AUTOMODELS_STRICT", "1")

    assert here(["lock"]) == 4

    assert "[AM106]" in capsys.readouterr().err
    assert not lock.exists()
