"""`registry check` by files alone: projects, wheels and installed plugins, right and wrong. Nothing is imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from made_wheels import CONFIG, HEAD, INFO, METADATA, MODEL, MODELING, POINTS, RIGHT, make_wheel

from automodels_cli.checking.codes import MEANINGS


@pytest.fixture
def check(here, capsys):
    """Checks a plugin; the exit code, and (code, level, message) of each finding."""

    def run(subject, *options):
        capsys.readouterr()
        code = here(["check", str(subject), "--json", *options])
        document = json.loads(capsys.readouterr().out)
        if document["kind"] == "error":
            return code, [(document["error"]["code"], "error", document["error"]["message"])]
        assert document["kind"] == "check"
        assert document["ok"] == (code == 0)
        return code, [(each["code"], each["level"], each["message"]) for each in document["findings"]]

    return run


def test_a_wheel_that_is_right_has_no_problem(check, tmp_path):
    assert check(make_wheel(tmp_path)) == (0, [])


def test_what_is_found_is_printed_for_people(here, tmp_path, capsys):
    wheel = make_wheel(tmp_path, {"flax_nano/modeling.py": "NanoModle = 1\n", "flax_nano/py.typed": None})

    assert here(["check", str(wheel)]) == 1

    assert capsys.readouterr().out.splitlines() == [
        "problems",
        "  flax-nano  [C202] base of nano in flax is flax_nano.modeling:NanoModel; flax_nano.modeling defines no "
        "NanoModel; did you mean NanoModle?",
        "",
        "notes",
        "  flax_nano  [C107] py.typed is missing: type checkers pass over the package's annotations",
        "",
        "flax-nano 1.0 (wheel; static): 1 problem, 1 note.",
    ]


def test_nothing_of_a_wheel_is_imported_or_left(check, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loud = "raise SystemExit('imported')\n"
    wheel = make_wheel(tmp_path, {"flax_nano/__init__.py": loud, "flax_nano/config.py": loud + CONFIG})

    assert check(wheel)[0] == 0

    assert "flax_nano" not in sys.modules
    assert [file for file in tmp_path.iterdir() if file.name.startswith("registry-check")] == []


WRONG = {
    "no entry point": ({f"{INFO}/entry_points.txt": None}, "C103", "no entry point"),
    "a broken entry point": ({f"{INFO}/entry_points.txt": "[automodels.plugins]\nx\n"}, "P101", "is not 'name"),
    "an entry point of another form": (
        {f"{INFO}/entry_points.txt": "[automodels.plugins]\nflax-nano = flax_nano\n"}, "P102", "not 'package:file.toml'"
    ),
    "no package": ({f"{INFO}/entry_points.txt": POINTS.replace("flax_nano:", "nano:")}, "P103", "is not there"),
    "a manifest that was not packed": ({"flax_nano/automodels.toml": None}, "P201", "is missing"),
    "a manifest outside the package": (
        {f"{INFO}/entry_points.txt": POINTS.replace(":automodels", ":../automodels")}, "P207", "leaves the package"
    ),
    "a manifest that is no TOML": ({"flax_nano/automodels.toml": "x"}, "P203", "is not TOML"),
    "another plugin's name": ({"flax_nano/automodels.toml": HEAD.replace("flax-", "my-") + MODEL}, "P208", "is called"),
    "another plugin API": ({"flax_nano/automodels.toml": HEAD.replace(">=1.0", "one") + MODEL}, "P204", "api"),
    "a future plugin API": (
        {"flax_nano/automodels.toml": HEAD.replace(">=1.0,<2", ">=7,<8") + MODEL}, "P301", "needs plugin API"
    ),
    "a name of ours": (
        {
            "flax_nano/automodels.toml": HEAD.replace("flax-nano", "flax-bert") + MODEL,
            f"{INFO}/entry_points.txt": POINTS.replace("flax-nano", "flax-bert"),
        },
        "P209", "the name of another distribution",
    ),
    "no module": ({"flax_nano/modeling.py": None}, "C201", "there is no module flax_nano.modeling"),
    "no such name": ({"flax_nano/config.py": "Other = 1\n"}, "C202", "defines no NanoConfig"),
    "a name for type checkers alone": (
        {"flax_nano/modeling.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from x import NanoModel\n"},
        "C202", "defines no NanoModel",
    ),
    "a source that is no Python": ({"flax_nano/modeling.py": "def"}, "C203", "line 1"),
    "a source with a null character": ({"flax_nano/modeling.py": "x\0"}, "C203", "null"),
    "a source nested deeply": ({"flax_nano/modeling.py": "(" * 100_000}, "C203", "modeling.py"),
    "a source of minus signs": ({"flax_nano/modeling.py": "x = " + "-" * 200_000 + "1"}, "C203", "modeling.py"),
    "a config that imports jax": ({"flax_nano/config.py": f"import jax\n{CONFIG}"}, "C204", "imports jax at"),
    "a config that may import torch": (
        {"flax_nano/config.py": f"try:\n    import torch.nn\nexcept ImportError:\n    pass\n{CONFIG}"}, "C204", "torch"
    ),
    "a package that imports flax": ({"flax_nano/__init__.py": "from flax import nnx\n"}, "C204", "__init__.py:1"),
    "a module of its own that imports jax": (
        {"flax_nano/config.py": f"from . import sizes\n{CONFIG}", "flax_nano/sizes.py": "import jax.numpy as jnp\n"},
        "C204", "sizes.py:1",
    ),
    "a requirement that is none": (
        {f"{INFO}/METADATA": f"{METADATA}Requires-Dist: not a requirement!\n"}, "C109", "is no requirement"
    ),
    "a requirement of a model that is none": (
        {"flax_nano/automodels.toml": HEAD + MODEL.replace("arch", 'requires = ["jax >> 3"]\narch')},
        "C109", "requires of",
    ),
    "no framework": (
        {f"{INFO}/METADATA": METADATA.replace("flax-runtime", "numpy")}, "C104", "none of flax or flax-runtime or jax"
    ),
    "a framework for an extra alone": (
        {f"{INFO}/METADATA": METADATA.replace("<0.2", "<0.2; extra == 'all'")}, "C104", "nothing would install it"
    ),
    "tests at the top": ({"tests/__init__.py": ""}, "C105", "'tests' would be installed at the top"),
    "a module of the standard library": ({"json/__init__.py": ""}, "C105", "'json' would be installed"),
    "a line for everybody's interpreter": ({"evil.pth": "import os\n"}, "C105", "evil.pth"),
    "two names": ({f"{INFO}/METADATA": f"{METADATA}Name: other\n"}, "C102", "2 values of name"),
    "no METADATA": ({f"{INFO}/METADATA": None}, "C102", "0 values of name"),
    "a range of Python that is none": (
        {f"{INFO}/METADATA": METADATA.replace(">=3.11", "three")}, "C102", "not a range of versions"
    ),
    "a RECORD without a file": ({f"{INFO}/RECORD": ""}, "C101", "but not in RECORD"),
    "a RECORD with another file": (
        {f"{INFO}/RECORD": "flax_nano/gone.py,sha256=x,1\n"}, "C101", "gone.py: in RECORD, but not in the wheel"
    ),
    "a RECORD with another hash": ({f"{INFO}/RECORD": "flax_nano/config.py,sha256=x,1\n"}, "C101", "not what RECORD's"),
    "a RECORD that is no text": ({f"{INFO}/RECORD": "\udcff"}, "C101", "RECORD"),
}  # fmt: skip


@pytest.mark.parametrize("case", [name for name in WRONG if name != "a RECORD that is no text"])
def test_what_is_wrong_with_a_wheel_is_a_problem_with_its_code(check, tmp_path, case):
    changes, code, words = WRONG[case]

    status, findings = check(make_wheel(tmp_path, changes))

    assert status == 1, findings
    assert [
        message for found, level, message in findings if (found, level) == (code, "problem") and words in message
    ], findings


NOTED = {
    "no summary": ({f"{INFO}/METADATA": METADATA.replace("Summary: Nano in Flax\n", "")}, "C102", "summary"),
    "no range of Python": ({f"{INFO}/METADATA": METADATA.replace("Requires-Python: >=3.11\n", "")}, "C102", "requires"),
    "another Python": ({f"{INFO}/METADATA": METADATA.replace(">=3.11", "<3")}, "C102", "leaves out 3."),
    "authors of the scaffold": (
        {f"{INFO}/METADATA": f"{METADATA}Author: The flax-nano authors\n"}, "C102", "authors is still what registry new"
    ),
    "a description of the scaffold": (
        {f"{INFO}/METADATA": METADATA.replace("Nano in Flax", "Nano in Flax, as a plugin of automodels")},
        "C102", "description is still what registry new",
    ),
    "no licence": ({f"{INFO}/METADATA": METADATA.replace("License-Expression: MIT\n", "")}, "C102", "license"),
    "an API range without end": ({"flax_nano/automodels.toml": HEAD.replace(",<2", "") + MODEL}, "C108", "end it"),
    "no example": ({"flax_nano/automodels.toml": HEAD + MODEL.partition("[model.example]")[0]}, "C110", "example"),
    "an unknown key": ({"flax_nano/automodels.toml": f"colour = 1\n{HEAD}{MODEL}"}, "P206", "colour"),
    "a field without docstring": ({"flax_nano/config.py": CONFIG.replace('"""Its width."""', "")}, "C205", "width"),
    "a second package": ({"nano_tools/__init__.py": ""}, "C105", "nano_tools"),
    "a requirement that does not hold": (
        {"flax_nano/automodels.toml": HEAD + MODEL.replace("arch", 'requires = ["no-such-thing>=3"]\narch')},
        "C109", "no-such-thing is not installed",
    ),
    "a config of a library that is not there": (
        {"flax_nano/automodels.toml": HEAD + MODEL.replace("flax_nano.config:", "no_such_library.config:")},
        "C201", "no_such_library is not installed here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(NOTED))
def test_what_is_worth_a_thought_is_a_note(check, tmp_path, case):
    changes, code, words = NOTED[case]

    status, findings = check(make_wheel(tmp_path, changes))

    assert [(found, level) for found, level, _ in findings] == [(code, "note")], findings
    assert words in findings[0][2]
    assert status == 0


def test_all_culprits_are_named_at_once(check, tmp_path):
    changes = {
        "flax_nano/modeling.py": "",
        "flax_nano/config.py": f"import torch\n{CONFIG}",
        "tests/__init__.py": "",
        f"{INFO}/METADATA": METADATA.replace("flax-runtime", "numpy"),
    }

    _, findings = check(make_wheel(tmp_path, changes))

    assert {code for code, level, _ in findings if level == "problem"} == {"C104", "C105", "C202", "C204"}


@pytest.mark.parametrize("name", ["flax_nano.whl", "other-1.0-py3-none-any.whl", "flax_nano-2.0-py3-none-any.whl"])
def test_a_wheel_called_otherwise_than_what_is_in_it_is_a_problem(check, tmp_path, name):
    status, findings = check(make_wheel(tmp_path, name=name))

    assert status == 1
    assert [code for code, *_ in findings] == ["C101"]


def test_names_that_others_have_are_problems(check, site, tmp_path):
    site.plugin("flax-nano", package="other", files={})
    site.distribution("other-nano", files={"entry_points.txt": "[automodels.plugins]\nflax-nano = other:a.toml\n"})
    site.package("flax_nano", {})

    _, findings = check(make_wheel(tmp_path))

    assert any("is also that of other" in message for _, _, message in findings), findings


def test_a_package_that_is_there_already_is_a_problem(check, site, tmp_path):
    site.package("flax_nano", {})

    status, findings = check(make_wheel(tmp_path))

    assert status == 1
    assert [code for code, *_ in findings] == ["C106"]
    assert "already in" in findings[0][2]


def project(directory: Path, toml: str, *, below: str = "src") -> Path:
    for name, text in RIGHT.items():
        if name.startswith("flax_nano"):
            file = directory / below / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (directory / "pyproject.toml").write_text(toml)
    return directory


PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "flax-nano"
version = "1.0"
description = "Nano"
requires-python = ">=3.11"
license = "MIT"
dependencies = ["flax-runtime"]
[project.entry-points."automodels.plugins"]
flax-nano = "flax_nano:automodels.toml"
"""


@pytest.mark.parametrize("below", ["src", "."])
def test_a_project_is_checked_where_it_lies(check, tmp_path, below):
    assert check(project(tmp_path / "nano", PYPROJECT, below=below)) == (0, [])


def test_a_project_of_setuptools_has_to_name_its_data(check, tmp_path):
    toml = PYPROJECT.replace('"hatchling.build"', '"setuptools.build_meta"')

    status, findings = check(project(tmp_path / "nano", toml))

    assert status == 1
    assert [code for code, *_ in findings] == ["C107"]
    named = toml + '[tool.setuptools.package-data]\nflax_nano = ["*.toml", "py.typed"]\n'
    assert check(project(tmp_path / "other", named)) == (0, [])


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[", "is not TOML"),
        ("", "no table [project]"),
        ("project = 1", "no table [project]"),
        ("[project]\n", "name in"),
        ("[project]\nname = 3\n", "name in"),
        ("[project]\nname = '../x'\n", "name in"),
        ("a." * 60_000 + "a = 1", "nested too deeply"),
    ],
)
def test_a_project_file_that_is_none_is_an_error_in_a_line(check, tmp_path, toml, words):
    status, ((_, level, message),) = check(project(tmp_path / "nano", toml))

    assert (status, level) == (2, "error")
    assert words in message


@pytest.mark.parametrize(
    "line",
    [
        "version = 3",
        "version = '1/../..'",
        "dependencies = 'x'",
        "dependencies = [3]",
        "entry-points = 3",
        "license = 3",
        "authors = 3",
        "authors = [3, {name = 3}, {name = 'a\\nName: b'}, {email = 'x'}]",
    ],
)
def test_odd_values_in_a_project_file_stop_nothing(check, tmp_path, line):
    key = line.partition(" ")[0]
    kept = "\n".join(each for each in PYPROJECT.splitlines() if not each.startswith(f"{key} ="))
    if key == "entry-points":
        kept = kept.partition("[project.entry-points")[0]
    toml = kept.replace("[project]\n", f"[project]\n{line}\n")

    status, findings = check(project(tmp_path / "nano", toml))

    assert status in (0, 1)
    assert all(code in MEANINGS for code, *_ in findings), findings


def test_a_plugin_that_is_installed_is_checked_by_its_name(check, site):
    site.plugin("flax-nano", HEAD + MODEL, files={"config.py": CONFIG, "modeling.py": MODELING, "py.typed": ""})

    status, findings = check("flax-nano")

    assert status == 1  # METADATA of the fake names no framework
    assert {code for code, *_ in findings} == {"C104", "C102"}


@pytest.mark.parametrize(
    ("subject", "code"),
    [("no-such-plugin", 3), ("", 3), ("\x1b[31m", 3), ("no/such/directory", 2), ("nothing.whl", 2)],
)
def test_what_is_not_there_is_an_error_in_a_line(check, subject, code):
    status, ((_, level, _),) = check(subject)

    assert (status, level) == (code, "error")


def test_an_unpacked_wheel_is_checked_as_one(check, tmp_path):
    import zipfile

    with zipfile.ZipFile(make_wheel(tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked")

    assert check(tmp_path / "unpacked") == (0, [])


def test_an_empty_directory_is_no_plugin(check, tmp_path):
    (tmp_path / "empty").mkdir()

    status, ((_, level, message),) = check(tmp_path / "empty")

    assert (status, level) == (2, "error")
    assert "no pyproject.toml" in message
