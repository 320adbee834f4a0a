"""Probes in processes of their own: what they do to these touches nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from automodels.backends import (
    Situation,
    probed_apart,
    probing,
)
from automodels.plugins.catalog import load_catalog

SITUATION = Situation(framework="flax", device="cuda", capability=90)


@pytest.fixture
def apart(site):
    def ask(body, top=""):
        site.plugin("toy-probes", "{head}", files={"probes.py": f"{top}\ndef probe(situation):\n    {body}\n"})
        (plugin,) = load_catalog(path=[str(site.path)]).plugins
        return probed_apart("toy_probes.probes:probe", plugin, SITUATION)

    return ask


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        ("import os; os._exit(7)", "exit status 7"),
        ("import os; os._exit(0)", "exit status 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 3)", "killed by signal 37"),
    ],
)
def test_a_probe_that_ends_its_process_ends_only_that(apart, body, ending):
    assert apart(body) == f"its probe ended the process it ran in ({ending})"


def test_output_of_a_probe_that_is_asked_apart_goes_nowhere(apart, capfd):
    assert apart("print('noise'); import os; os.system('echo noise; echo noise >&2')") is None

    assert capfd.readouterr() == ("", "")


def test_a_probe_that_is_asked_apart_has_nothing_to_read(apart):
    assert apart("import sys; return repr(sys.stdin.read())") == "''"


def test_what_a_probe_leaves_running_is_not_waited_for(apart):
    thread = "import threading, time; threading.Thread(target=time.sleep, args=(20,)).start()"
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    started = time.monotonic()

    assert apart(thread) is None
    assert apart(child) is None

    assert time.monotonic() - started < 15


def test_modules_in_the_working_directory_are_not_taken_for_others(apart, tmp_path, monkeypatch):
    for name in ("json.py", "automodels.py", "toy_probes.py"):
        (tmp_path / name).write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)

    assert apart("pass") is None


def test_a_path_that_only_this_process_knows_is_enough(site, tmp_path):
    site.plugin("toy-probes", "{head}", files={"probes.py": "def probe(situation): return 'found'"})
    program = (
        f"import sys; sys.path[:0] = {[str(site.path), *sys.path]!r}\n"
        "from automodels.backends import Situation, probed_apart\n"
        "from automodels.plugins.entries import Plugin\n"
        "plugin = Plugin(name='p', version='1', location='', editable=False, manifest=None)\n"
        "print(probed_apart('toy_probes.probes:probe', plugin, Situation(framework='flax', device='cpu')))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "found\n"


def test_where_no_process_can_be_started_that_is_the_reason(apart, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    assert apart("pass") == "its probe could not be asked: no process could be started (No such file or directory)"


def test_an_answer_that_is_no_json_is_a_process_that_ended(apart, monkeypatch, tmp_path):
    for number, text in enumerate(("", "[]", "null", "{}", "7", json.dumps({"reason": "x"}) + "x")):
        program = tmp_path / f"{number}.py"
        program.write_text(f"print({text!r}, end='')")
        monkeypatch.setattr(probing, "_PROGRAM", str(program))
        assert apart("pass") == "its probe ended the process it ran in (exit status 0)"
