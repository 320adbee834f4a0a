"""`registry new`: names, files, and that it writes all or nothing. What it writes is installed and run by tests/kit."""

from __future__ import annotations

import ast
import json
import os
import tomllib
from pathlib import Path

import pytest

from automodels.plugins.manifest import read_manifest
from automodels_cli.scaffold.names import plugin_names
from automodels_cli.scaffold.writing import scaffolded

FRAMEWORKS = ["flax", "torch"]


@pytest.fixture(autouse=True)
def empty_directory(here, tmp_path, monkeypatch):
    """The directory in which the command is run."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def written(directory):
    return {str(file.relative_to(directory)): file.read_text() for file in directory.rglob("*") if file.is_file()}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_new_plugin_has_everything_that_a_package_needs(here, capsys, framework):
    assert here(["new", f"{framework}-nano", "--framework", framework]) == 0

    files = written(Path(f"{framework}-nano"))
    package = f"src/{framework}_nano"
    assert sorted(files) == sorted(
        [
            ".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml",
            f"{package}/__init__.py", f"{package}/automodels.toml", f"{package}/config.py", f"{package}/keymap.py",
            f"{package}/modeling.py", f"{package}/py.typed", "tests/test_conformance.py", "tests/test_package.py",
        ]
    )  # fmt: skip
    assert "registry check . --imports --run" in capsys.readouterr().out


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("model_type", ["nano", "a", "nano-gpt_2", "verylong" * 5])
def test_no_placeholder_is_left_and_everything_can_be_parsed(framework, model_type):
    names = plugin_names(f"{framework}-x1", framework, model_type)

    files = scaffolded(names)

    for name, text in files.items():
        assert "{{" not in text.replace("${{", ""), name
        assert text == "" or text.endswith("\n"), name
        if name.endswith(".py"):
            ast.parse(text)
        if name.endswith(".toml"):
            tomllib.loads(text)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_manifest_is_free_of_problems_and_has_an_example(here, framework):
    here(["new", f"{framework}-nano", "--framework", framework])

    manifest, problems = read_manifest(f"{framework}-nano/src/{framework}_nano/automodels.toml")

    assert problems == ()
    assert manifest.name == f"{framework}-nano"
    assert manifest.models[0].example["vocab_size"] > 0
    assert (manifest.models[0].keymap is not None) == (framework == "flax")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_it_writes_passes_the_static_check(here, capsys, framework):
    here(["new", f"{framework}-nano", "--framework", framework])
    capsys.readouterr()

    assert here(["check", f"{framework}-nano"]) == 0

    assert "0 problems" in capsys.readouterr().out


def test_the_model_type_is_the_name_without_the_framework(here, capsys):
    here(["new", "flax-nano-gpt", "--framework", "flax", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "new"
    assert document["package"] == "flax_nano_gpt"
    assert document["model_type"] == "nano_gpt"
    assert "class FlaxNanoGptModel" in Path("flax-nano-gpt/src/flax_nano_gpt/modeling.py").read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Nano", "is no name for a plugin"),
        ("nano_gpt", "is no name for a plugin"),
        ("-nano", "is no name for a plugin"),
        ("nano-", "is no name for a plugin"),
        ("2nano", "is no name for a plugin"),
        ("na/no", "is no name for a plugin"),
        ("../nano", "is no name for a plugin"),
        ("nano\n", "is no name for a plugin"),
        ("näno", "is no name for a plugin"),
        ("n" * 41, "is no name for a plugin"),
        ("class", "is a word of Python"),
        ("match", "is a word of Python"),
        ("json", "is a module of Python's standard library"),
        ("flax-bert", "is taken by automodels"),
        ("torch", "is taken by automodels"),
        ("tests", "is taken by automodels"),
        ("automodels-cli", "is taken by automodels"),
    ],
)
def test_names_that_nobody_can_have_are_refused(here, capsys, name, reason):
    assert here(["new", "--framework", "flax", "--", name]) == 2

    assert reason in capsys.readouterr().err
    assert os.listdir() == []


def test_a_name_that_is_installed_already_is_refused(here, site, capsys):
    site.plugin("flax-nano")

    assert here(["new", "flax-nano", "--framework", "flax", "--directory", "elsewhere"]) == 2

    assert "is installed already" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("model_type", ["", "1x", "a b", "X", "a.b", "a__b", "x" * 41, "a'", "ä"])
def test_model_types_that_no_class_can_be_called_by_are_refused(here, capsys, model_type):
    assert here(["new", "flax-nano", "--framework", "flax", "--model-type", model_type]) == 2

    assert "is no model type" in capsys.readouterr().err
    assert os.listdir() == []


def test_a_directory_with_something_in_it_is_left_alone(here, capsys):
    Path("flax-nano").mkdir()
    Path("flax-nano/mine.txt").write_text("mine")

    assert here(["new", "flax-nano", "--framework", "flax"]) == 2

    assert "is not empty; nothing in it was changed" in capsys.readouterr().err
    assert written(Path("flax-nano")) == {"mine.txt": "mine"}


def test_an_empty_directory_is_filled(here):
    Path("flax-nano").mkdir()

    assert here(["new", "flax-nano", "--framework", "flax"]) == 0

    assert Path("flax-nano/pyproject.toml").is_file()
    assert os.listdir() == ["flax-nano"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_is_refused(here, capsys, kind):
    if kind == "file":
        Path("flax-nano").write_text("")
    else:
        Path("flax-nano").symlink_to("nowhere")

    assert here(["new", "flax-nano", "--framework", "flax"]) == 2

    assert "exists and is no directory" in capsys.readouterr().err
    assert os.listdir() == ["flax-nano"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_where_nobody_may_write_is_an_error_in_one_line(here, capsys):
    Path("closed").mkdir(mode=0o500)

    assert here(["new", "flax-nano", "--framework", "flax", "--directory", "closed/nano"]) == 2

    assert "cannot be written" in capsys.readouterr().err


def test_a_name_in_the_place_of_a_file_is_an_error_in_one_line(here, capsys):
    Path("there").write_text("")

    assert here(["new", "flax-nano", "--framework", "flax", "--directory", "there/nano"]) == 2

    assert "cannot be written" in capsys.readouterr().err
    assert os.listdir() == ["there"]
