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
            *(["tests/conftest.py"] if framework == "flax" else []),
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
def test_what_it_writes_passes_the_static_check_less_what_the_author_should_say(here, capsys, framework):
    here(["new", f"{framework}-nano", "--framework", framework])
    capsys.readouterr()

    assert here(["check", f"{framework}-nano", "--json"]) == 0

    findings = json.loads(capsys.readouterr().out)["findings"]
    assert said(findings) == [("C102", "note", "authors"), ("C102", "note", "description")]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_author_and_a_description_of_its_own_leave_nothing_to_note(here, capsys, framework):
    here(["new", f"{framework}-nano", "--framework", framework])
    file = Path(f"{framework}-nano/pyproject.toml")
    text = file.read_text().replace(f"The {framework}-nano authors", "Ada").replace("as a plugin", "trained, a plugin")
    file.write_text(text)
    capsys.readouterr()

    assert here(["check", f"{framework}-nano", "--json"]) == 0

    assert said(json.loads(capsys.readouterr().out)["findings"]) == []


def said(findings):
    """Code, level and subject of each; less that frameworks are not installed, where they are not."""
    return [(each["code"], each["level"], each["subject"]) for each in findings if each["code"] != "C109"]


@pytest.mark.parametrize(("framework", "prefix"), [("flax", "Flax"), ("torch", "")])
def test_classes_are_called_by_the_class_name_that_is_given(here, capsys, framework, prefix):
    arguments = ["new", f"{framework}-gpt2", "--framework", framework, "--class-name", "GPT2", "--json"]

    assert here(arguments) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["model_type"], document["class_name"]) == ("gpt2", "GPT2")
    package = Path(f"{framework}-gpt2/src/{framework}_gpt2")
    assert "class GPT2Config(" in (package / "config.py").read_text()
    assert f"class {prefix}GPT2ForCausalLM(" in (package / "modeling.py").read_text()
    assert "Gpt2" not in "".join(written(package.parents[1]).values())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is no beginning of a class name"),
        ("gpt2", "is no beginning of a class name"),
        ("2GPT", "is no beginning of a class name"),
        ("GPT-2", "is no beginning of a class name"),
        ("GPT_2", "is no beginning of a class name"),
        ("GPT2\n", "is no beginning of a class name"),
        ("Größe", "is no beginning of a class name"),
        ("G" * 41, "is no beginning of a class name"),
        ("FlaxGPT2", "a framework's word twice"),
        ("Torch", "names of classes that the runtimes have"),
        ("FlaxModel", "names of classes that the runtimes have"),
        ("Pretrained", "names of classes that the runtimes have"),
    ],
)
def test_class_names_that_would_not_do_are_refused(here, capsys, name, reason):
    assert here(["new", "flax-nano", "--framework", "flax", "--class-name", name]) == 2

    assert reason in capsys.readouterr().err
    assert os.listdir() == []


def test_a_model_type_that_makes_no_good_class_name_is_refused_with_what_to_do(here, capsys):
    assert here(["new", "torch-torch", "--framework", "torch"]) == 2

    assert "--class-name" in capsys.readouterr().err
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("options", "identifier", "words"),
    [
        ([], "Apache-2.0", "Version 2.0, January 2004"),
        (["--license", "apache-2.0"], "Apache-2.0", "Version 2.0, January 2004"),
        (["--license", "MIT"], "MIT", "Copyright (c) The flax-nano authors"),
    ],
)
def test_the_licence_is_named_and_its_text_written(here, capsys, options, identifier, words):
    here(["new", "flax-nano", "--framework", "flax", *options])

    project = tomllib.loads(Path("flax-nano/pyproject.toml").read_text())["project"]
    assert project["license"] == identifier
    assert project["license-files"] == ["LICENSE"]
    assert words in Path("flax-nano/LICENSE").read_text()
    assert "The text of" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "identifier"), [("mpl-2.0", "MPL-2.0"), ("LicenseRef-House", "LicenseRef-House"), ("0BSD", "0BSD")]
)
def test_a_licence_whose_text_is_not_known_is_named_and_the_text_asked_for(here, capsys, given, identifier):
    assert here(["new", "flax-nano", "--framework", "flax", "--license", given]) == 0

    project = tomllib.loads(Path("flax-nano/pyproject.toml").read_text())["project"]
    assert project["license"] == identifier
    assert "license-files" not in project
    assert not Path("flax-nano/LICENSE").exists()
    assert f"The text of {identifier} is not among them: put it into flax-nano/LICENSE." in capsys.readouterr().out


@pytest.mark.parametrize("given", ["", "nonsense", "MIT OR Apache-2.0", "../MIT", "MIT\n", '"MIT', "x" * 65, "ä"])
def test_what_is_no_licence_is_refused(here, capsys, given):
    assert here(["new", "flax-nano", "--framework", "flax", "--license", given]) == 2

    assert "is no SPDX identifier of a licence" in capsys.readouterr().err
    assert os.listdir() == []


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
