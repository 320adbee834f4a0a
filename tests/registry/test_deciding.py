"""pin, unpin, enable, disable: the project file is edited, and nothing else of it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from automodels.testing.sites import model_table

COMMENTED = """\
# what we run in production
framework = "flax"   # until the GPUs are there

[pins]
# decided in March
other = "other-plugin"
"""


@pytest.fixture
def toys(site):
    site.plugin("toy-flax", "{head}" + model_table("toy_flax"))
    site.plugin("toy-torch", "{head}" + model_table("toy_torch", framework="torch"))
    site.plugin("other-plugin", "{head}" + model_table("other_plugin", model_type="other"))


@pytest.fixture
def project(tmp_path):
    """The project file of the working directory."""
    return tmp_path / "automodels.toml"


def test_a_pin_is_written_into_a_new_file_and_decides_from_then_on(here, toys, project, capsys):
    assert here(["pin", "toy", "toy-torch"]) == 0

    assert project.read_text() == '[pins]\ntoy = "toy-torch"\n'
    assert capsys.readouterr().out.splitlines() == [
        "automodels.toml: toy is pinned to toy-torch.",
        f"base for toy is toy-torch now (torch; {project}).",
    ]


def test_comments_and_order_of_the_file_stay(here, toys, project, capsys):
    project.write_text(COMMENTED)

    assert here(["pin", "toy", "toy-torch"]) == 0
    assert here(["disable", "toy-flax"]) == 0
    edited = project.read_text()
    assert here(["unpin", "toy"]) == 0
    assert here(["enable", "toy-flax"]) == 0

    head, _, pins = COMMENTED.partition("\n\n")
    assert edited == f'{head}\ndisable = ["toy-flax"]\n\n{pins}toy = "toy-torch"\n'
    assert project.read_text() == COMMENTED.replace("\n\n", "\ndisable = []\n\n")


def test_the_nearest_file_above_is_edited(here, toys, project, monkeypatch, capsys):
    project.write_text(COMMENTED)
    deep = project.parent / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)

    assert here(["pin", "toy", "toy-torch"]) == 0

    assert 'toy = "toy-torch"' in project.read_text()
    assert list(deep.iterdir()) == []
    assert capsys.readouterr().out.startswith(f"{os.path.join('..', '..', 'automodels.toml')}: toy is pinned")


def test_a_manifest_above_is_passed_by_and_one_here_is_not_written_through(here, toys, project, monkeypatch, capsys):
    manifest = 'schema = 1\nname = "mine"\n'
    project.write_text(manifest)
    below = project.parent / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert here(["pin", "toy", "toy-torch"]) == 0
    monkeypatch.chdir(project.parent)

    assert here(["pin", "toy", "toy-torch"]) == 2

    assert project.read_text() == manifest
    assert (below / "automodels.toml").exists()
    assert "is the manifest of a plugin" in capsys.readouterr().err


def test_another_plugin_takes_the_place_of_a_pin_however_the_model_type_is_spelled(here, site, project, capsys):
    for name in ("one", "two"):
        site.plugin(name, "{head}" + model_table(name, model_type="gpt-toy"))
    project.write_text('[pins]\ngpt_toy = "one"\n')

    assert here(["pin", "gpt-toy", "two"]) == 0

    assert project.read_text() == '[pins]\ngpt-toy = "two"\n'
    assert "is pinned to two (it was one)." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "command", "said"),
    [
        ('[pins]\ntoy = "toy-flax" # mine\n', ["pin", "toy", "toy-flax"], "toy was pinned to toy-flax already."),
        ('[pins]\nother = "other-plugin"\n', ["unpin", "toy"], "toy was not pinned."),
        ('[pins]\nothers = "other-plugin"\n', ["unpin", "other"], "other was not pinned; did you mean 'others'?"),
        ('disable = ["toy-flax"]\n', ["disable", "toy-flax"], "toy-flax was disabled already."),
        ('disable = ["toy-flax"]\n', ["enable", "toy-flux"], "toy-flux was not disabled; did you mean 'toy-flax'?"),
        ("", ["enable", "toy-flax"], "toy-flax was not disabled."),
    ],
)
def test_what_changes_nothing_says_so_and_does_not_write(here, toys, project, capsys, before, command, said):
    project.write_text(before)
    inode = project.stat().st_ino

    assert here(command) == 0

    assert (project.read_text(), project.stat().st_ino) == (before, inode)
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == f"automodels.toml: {said}"
    assert "does not count" not in captured.err


def test_without_a_project_file_there_is_nothing_to_take_back_and_none_is_made(here, toys, project, capsys):
    assert here(["unpin", "toy"]) == here(["enable", "toy-flax"]) == 0

    assert not project.exists()
    assert capsys.readouterr().err == ""


def test_a_stronger_decision_is_named(here, toys, project, monkeypatch, capsys):
    monkeypatch.setenv("AUTOMODELS_PIN_TOY", "toy-flax")

    assert here(["pin", "toy", "toy-torch"]) == 0

    captured = capsys.readouterr()
    assert "base for toy is toy-flax now (flax; AUTOMODELS_PIN_TOY)." in captured.out
    assert "AUTOMODELS_PIN_TOY is stronger than the project file and chooses toy-flax" in captured.err


def test_enabling_says_when_the_environment_disables_as_well(here, toys, project, monkeypatch, capsys):
    project.write_text('disable = ["toy-flax"]\n')
    monkeypatch.setenv("AUTOMODELS_DISABLE", "toy-flax")

    assert here(["enable", "toy-flax"]) == 0

    assert "Its status is now disabled by AUTOMODELS_DISABLE." in capsys.readouterr().out


def test_a_file_that_does_not_count_here_is_written_with_a_warning(here, toys, project, capsys):
    project.write_text("")

    assert here(["pin", "toy", "toy-torch", "--file", "other.toml"]) == 0

    captured = capsys.readouterr()
    assert (project.parent / "other.toml").read_text() == '[pins]\ntoy = "toy-torch"\n'
    assert f"other.toml does not count in this directory; {project} does." in captured.err
    assert "base for toy is toy-flax now" in captured.out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["pin", "toi", "toy-flax"], "No installed plugin offers the model type 'toi'. Did you mean 'toy'?"),
        (["pin", "toy", "toy-flux"], "The plugin 'toy-flux' is not installed; it cannot offer the model type 'toy'."),
        (["pin", "toy", "other-plugin"], "The plugin 'other-plugin' does not offer the model type 'toy'."),
        (["disable", "toy-flux"], "The plugin 'toy-flux' is not installed. Did you mean 'toy-flax'?"),
    ],
)
def test_a_name_that_nothing_here_has_is_refused_unless_forced(here, toys, project, capsys, command, said):
    assert here(command) == 3

    assert said in capsys.readouterr().err
    assert not project.exists()
    assert here([*command, "--force"]) == 0
    assert command[-1] in project.read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[[", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"\xef\xbb\xbf[pins]\n", "is not TOML"),
        (b"pin = 1", "unknown key 'pin'"),
        (b"pins = 1", "is not a table"),
        (b'disable = "toy-flax"', "is not a list of plugins"),
        (b"#" * 70_000, "larger than 65536 bytes"),
        (b"schema = 2", "is the manifest of a plugin"),
        (b".".join([b"a"] * 20_000) + b" = 1", "nested too deeply"),
    ],
    ids=lambda value: value[:12].decode("latin-1") if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("command", [["pin", "toy", "toy-flax"], ["unpin", "toy"], ["disable", "toy-flax"]])
def test_a_file_that_is_none_is_refused_and_stays(here, toys, tmp_path, capsys, content, said, command):
    file = tmp_path / "other.toml"
    file.write_bytes(content)

    assert here([*command, "--file", "other.toml"]) == 2

    assert said in capsys.readouterr().err
    assert file.read_bytes() == content


def test_directories_pipes_and_places_that_are_not_there_are_refused(here, toys, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe", "/dev/null", "no/such/folder.toml", "", "a\x1b[2Jb", "other.toml/x"):
        assert here(["pin", "toy", "toy-flax", "--file", name]) == 2, name

    assert "\x1b" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe", "site"]


def test_a_read_only_file_is_refused_and_permissions_of_others_stay(here, toys, project, capsys):
    project.write_text("")
    project.chmod(0o640)
    assert here(["pin", "toy", "toy-flax"]) == 0
    assert project.stat().st_mode & 0o777 == 0o640
    project.chmod(0o444)

    assert here(["unpin", "toy"]) == 2

    assert "read-only" in capsys.readouterr().err
    assert project.read_text() == '[pins]\ntoy = "toy-flax"\n'


def test_a_linked_file_stays_a_link(here, toys, project):
    target = project.parent / "shared.toml"
    target.write_text("")
    project.symlink_to(target)

    assert here(["pin", "toy", "toy-flax"]) == 0

    assert project.is_symlink()
    assert target.read_text() == '[pins]\ntoy = "toy-flax"\n'


@pytest.mark.parametrize(
    "before",
    [
        'pins = { other = "x" }\n',
        'pins.other = "x"\n',
        '[pins]\r\nother = "x"\r\n',
        "disable = [\n  'x', # why\n]\n",
        '"pins" = {}\n',
        "[pins]",
        "# nothing but a comment",
    ],
)
def test_every_form_of_the_file_is_edited_into_one_that_says_what_was_meant(here, toys, project, before):
    from automodels.plugins.project_file import nearest_project

    project.write_bytes(before.encode())
    was = nearest_project()

    assert here(["pin", "toy", "toy-torch"]) == 0
    assert here(["disable", "toy-flax"]) == 0

    now = nearest_project()
    assert dict(now.pins) == {**dict(was.pins), "toy": "toy-torch"}
    assert now.disable == (*was.disable, "toy-flax")


@pytest.mark.parametrize("name", ["a b", "../x", "", "x" * 65, "\x1b[31m", "-"])
def test_a_name_of_an_impossible_form_is_refused(here, toys, project, capsys, name):
    for command in (["pin", name, "toy-flax"], ["pin", "toy", name], ["unpin", name], ["disable", name]):
        assert here(command) == 2

    assert "\x1b" not in capsys.readouterr().err
    assert not project.exists()


def test_documents_have_the_change_the_decision_and_the_warnings(here, toys, project, monkeypatch, capsys):
    documents = []
    for command in (["pin", "toy", "toy-torch"], ["unpin", "toy"], ["disable", "toy-torch"], ["enable", "toy-torch"]):
        assert here([*command, "--json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))

    assert [document["kind"] for document in documents] == ["pin", "unpin", "disable", "enable"]
    assert [document["changed"] for document in documents] == [True] * 4
    assert documents[0]["decision"] == {
        "task": "base",
        "plugin": "toy-torch",
        "framework": "torch",
        "reason": str(project),
        "error": None,
    }
    assert documents[1]["plugin"] == "toy-torch"
    assert [document["status"] for document in documents[2:]] == ["disabled", "ok"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(here, toys, project, monkeypatch, capsys):
    project.write_text(COMMENTED)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    assert here(["pin", "toy", "toy-torch"]) == 2

    assert project.read_text() == COMMENTED
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["automodels.toml", "site"]
    assert "No space left on device; nothing was changed" in capsys.readouterr().err
