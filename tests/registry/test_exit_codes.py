from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import automodels_cli.commands.list as list_command
from automodels import errors
from automodels_cli.arguments import parser
from automodels_cli.exit_codes import exit_code


def every(kind):
    return [kind, *(each for below in kind.__subclasses__() for each in every(below))]


EXPECTED = {
    "UnknownModelTypeError": 3, "UnknownTaskError": 3, "CheckpointNotFoundError": 3,
    "ResolutionError": 4, "AmbiguousModelError": 4, "NoUsablePluginError": 4, "UnknownPluginError": 4,
    "StrictModeError": 4, "LockError": 4,
    "ConfigError": 5, "ConfigFileError": 5, "ConfigValueError": 5, "UnsupportedConfigError": 5,
    "MissingModelTypeError": 5, "CheckpointError": 5, "CheckpointFormatError": 5, "CheckpointSecurityError": 5,
    "CheckpointMismatchError": 5, "CheckpointWriteError": 5, "CheckpointChangedError": 5,
    "HubError": 5, "HubAccessError": 5, "HubRateLimitError": 5, "HubUnavailableError": 5, "HubOfflineError": 5,
    "PluginError": 6, "PluginImportError": 6, "PluginReferenceError": 6, "PluginHookError": 6, "RegistrationError": 6,
    "BackendUnavailableError": 6, "MissingDependencyError": 6,
    "InputError": 2, "UnknownArgumentError": 2,
    "AutomodelsError": 70,
}  # fmt: skip


@pytest.mark.parametrize("kind", [each for each in every(errors.AutomodelsError) if each.__module__ == errors.__name__])
def test_every_error_has_its_exit_code(kind):
    assert exit_code(kind("message")) == EXPECTED[kind.__name__]


def test_anything_else_is_a_bug():
    assert exit_code(ZeroDivisionError()) == 70


def test_help_documents_every_exit_code():
    text = parser().format_help()

    assert [line.split()[0] for line in text.splitlines() if line[:5].strip().isdigit()] == [
        "0", "1", "2", "3", "4", "5", "6", "70", "130", "141",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["list", "--bogus"], ["show"], ["run"], ["list", "--plug", "x"]]
)
def test_a_malformed_command_line_is_exit_code_2(here, capsys, arguments):
    assert here(arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("InputError [AM701]: ")
    assert "--help" in captured.err


def test_a_malformed_command_line_is_a_document_with_json(here, capsys):
    assert here(["list", "--json", "--bogus"]) == 2

    assert json.loads(capsys.readouterr().out)["error"]["type"] == "InputError"


def test_a_malformed_variable_is_exit_code_2(here, capsys, monkeypatch):
    monkeypatch.setenv("AUTOMODELS_SAFE_MODE", "perhaps")

    assert here(["list"]) == 2

    assert "AUTOMODELS_SAFE_MODE is 'perhaps'" in capsys.readouterr().err


def test_a_bug_is_one_line_and_exit_code_70(here, capsys, monkeypatch):
    monkeypatch.setattr(list_command, "installed", lambda output: 1 / 0)

    assert here(["list"]) == 70

    err = capsys.readouterr().err
    assert err == "registry: internal error; --traceback shows where: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize("arguments", [["--traceback", "list"], ["list", "--traceback"]])
def test_a_traceback_is_shown_when_asked_for(here, capsys, monkeypatch, arguments):
    monkeypatch.setattr(list_command, "installed", lambda output: 1 / 0)

    assert here(arguments) == 70

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_version_and_help_are_exit_code_0(here, capsys):
    assert here(["--version"]) == 0
    assert capsys.readouterr().out.startswith("registry ")
    assert here(["list", "--help"]) == 0


def test_the_readme_documents_the_same_exit_codes_as_help():
    readme = (Path(__file__).parents[2] / "registry" / "README.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", readme, re.MULTILINE)

    text = parser().format_help()
    assert len(rows) == 10
    for code, meaning in rows:
        assert f"{code:>5}  {meaning.replace('`', '')}\n" in text
