"""`registry completion`: real shells complete with the scripts; a shell that is not installed is passed by."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from automodels.testing.sites import model_table
from automodels_cli.arguments import parser
from automodels_cli.arguments.telling import SHELLS
from automodels_cli.completion.routes import routes

COMPLETE_IN_BASH = """
source {script}
COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMPREPLY=()
_registry
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def shell_environment(environment, site, tmp_path):
    """Variables with which a shell finds this `registry`, and two plugins, one of them hostile."""
    site.plugin("toy-plugin", "{head}" + model_table("toy_plugin"))
    evil = f"[automodels.plugins]\n$(touch {tmp_path}/ran) = x:y\n`touch {tmp_path}/ran` = x:y\n"
    site.distribution("toy-evil", files={"entry_points.txt": evil})
    binary = tmp_path / "bin"
    binary.mkdir()
    (binary / "registry").write_text(f'#!/bin/sh\nexec {sys.executable} -m automodels_cli "$@"\n')
    (binary / "registry").chmod(0o755)
    (tmp_path / "here").mkdir(exist_ok=True)
    (tmp_path / "here" / "toy-checkpoint *").mkdir()
    return {**environment, "PATH": f"{binary}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def script(shell_environment, tmp_path):
    def make(shell):
        done = subprocess.run(
            ["registry", "completion", shell], env=shell_environment, capture_output=True, text=True, check=True
        )
        file = tmp_path / f"script.{shell}"
        file.write_text(done.stdout)
        return file

    return make


@pytest.fixture
def completed(shell_environment, script, tmp_path):
    """What a shell offers for the last of these words."""

    def complete(shell, *words):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        if shell == "bash":
            program = COMPLETE_IN_BASH.format(script=script("bash"))
            command = ["bash", "-c", program, "bash", "registry", *words]
        elif shell == "fish":
            command = ["fish", "-c", f"source {script('fish')}; complete -C '{' '.join(['registry', *words])}'"]
        else:
            return _in_zsh(script("zsh"), " ".join(["registry", *words]), shell_environment, tmp_path / "here")
        done = subprocess.run(
            command, env=shell_environment, cwd=tmp_path / "here", capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    return complete


def _in_zsh(script, line, environment, directory):
    """The words on the screen of an interactive zsh after Tab was pressed behind a line."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(directory)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**environment, "TERM": "dumb", "COLUMNS": "200"})
    begin = f"autoload -U compinit; compinit -u -D; source {script}; bindkey '^I' complete-word; echo rea''dy\n"
    os.write(screen, begin.encode())
    _read_until(screen, "ready\r\n")
    os.write(screen, f"{line}\t".encode())
    shown = _read_until(screen, None)
    os.close(screen)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return shown.replace("\a", "").split()  # it may ring the bell


def _read_until(screen, text, *, quiet=2.0):
    """What the terminal shows until `text` comes, or nothing more does."""
    shown, last = "", time.monotonic()
    while (text is None or text not in shown) and time.monotonic() - last < (quiet if text is None else 60):
        if select.select([screen], [], [], 0.1)[0]:
            shown += os.read(screen, 1 << 16).decode("utf-8", "replace")
            last = time.monotonic()
    return shown


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_no_error(shell, script):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")

    done = subprocess.run([shell, "-n", str(script(shell))], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_are_completed(shell, completed):
    assert "explain" in completed(shell, "exp")


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_below_a_command_are_completed(shell, completed):
    assert {"embed", "fill-mask", "generate"} <= set(completed(shell, "run", ""))


@pytest.mark.parametrize("shell", SHELLS)
def test_values_of_an_option_are_completed(shell, completed):
    assert "missing-requirement" in completed(shell, "list", "--status", "mis")


@pytest.mark.parametrize("shell", SHELLS)
def test_options_are_completed(shell, completed):
    assert "--top-k" in completed(shell, "run", "fill-mask", "--top")


@pytest.mark.parametrize("shell", SHELLS)
def test_names_of_plugins_and_model_types_are_completed_and_nothing_of_them_is_run(shell, completed, tmp_path):
    assert "toy-plugin" in completed(shell, "show", "toy-p")
    assert not (tmp_path / "ran").exists()


def test_names_and_files_are_completed_where_both_may_stand(completed):
    assert {"toy", "toy-plugin", "toy-checkpoint *"} <= set(completed("bash", "show", "toy"))


def test_bash_registers_the_completion(script):
    done = subprocess.run(
        ["bash", "-c", f"source {script('bash')}; complete -p registry"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "complete -o filenames -F _registry registry"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_every_option_stands_in_the_script(shell, here, capsys):
    assert here(["completion", shell]) == 0

    text = capsys.readouterr().out
    for route in routes(parser()):
        assert route.text in text
        for option in route.options:
            assert all(spelling.lstrip("-") in text for spelling in option.spellings)


def test_with_json_the_script_is_in_a_document(here, capsys):
    assert here(["completion", "bash", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["script"].startswith("# bash completion")


def test_an_unknown_shell_is_refused(here, capsys):
    assert here(["completion", "tcsh"]) == 2

    assert "bash" in capsys.readouterr().err


def test_names_for_scripts_are_names_one_on_each_line(registry, shell_environment, tmp_path):
    process = registry("list", "--names")

    names = process.stdout.split("\n")[:-1]
    assert {"toy", "toy-plugin"} <= set(names)
    assert names == sorted(names)
    assert "touch" not in process.stdout
