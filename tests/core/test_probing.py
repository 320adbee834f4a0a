"""Probes are foreign code: whatever they do, the answer is a reason or None."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from automodels.backends import (
    AttentionNeeds,
    Situation,
    choose_backend,
    forget_probes,
    probed_apart,
    probing,
)
from automodels.errors import BackendUnavailableError
from automodels.plugins.catalog import load_catalog

SITUATION = Situation(
    framework="flax",
    device="cuda",
    capability=90,
    dtype="bfloat16",
    needs=AttentionNeeds(head_sizes=(64, 128), always=frozenset({"causal"}), possible=frozenset({"mask", "dropout"})),
)
TABLE = (
    '[[backend]]\nname = "{name}"\nframework = "flax"\nimplementation = "toy_probes:attend"\npriority = {priority}\n'
)


@pytest.fixture(params=["here", "apart"])
def probe(request, site, monkeypatch):
    """What a probe says whose function has this body, in this process or in one of its own."""
    forget_probes()

    def ask(body, situation=SITUATION, *, top=""):
        site.plugin("toy-probes", "{head}", files={"probes.py": f"{top}\ndef probe(situation):\n    {body}\n"})
        (plugin,) = load_catalog(path=[str(site.path)]).plugins
        function = probing.probed if request.param == "here" else probed_apart
        return function("toy_probes.probes:probe", plugin, situation)

    ask.here = request.param == "here"
    monkeypatch.setattr(probing, "SECONDS", 10.0)
    yield ask
    forget_probes()


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("return None", None),
        ("return 'no kernel for this'", "no kernel for this"),
        ("return 'no kernel\\n  for\\tthis '", "no kernel for this"),
        ("return ''", "its probe gives no reason"),
        ("return 'ünïcode — 日本'", "ünïcode — 日本"),
        ("raise ValueError('no luck\\nsecond line')", "its probe failed with ValueError: no luck"),
        ("raise ValueError", "its probe failed with ValueError"),
        ("raise SystemExit(3)", "its probe failed with SystemExit: 3"),
        ("import sys; sys.exit('bye')", "its probe failed with SystemExit: bye"),
        ("raise KeyboardInterrupt", "its probe failed with KeyboardInterrupt"),
        ("import not_there_at_all", "its probe failed with ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("return probe(situation)", "its probe failed with RecursionError: maximum recursion depth exceeded"),
        ("return 7", "its probe gave 7, not a reason or None"),
        ("return True", "its probe gave True, not a reason or None"),
        ("return b'x'", "its probe gave 'x', not a reason or None"),
        ("return ['x']", "its probe gave ['x'], not a reason or None"),
        ("yield 'x'", "its probe gave <generator object probe at 0x"),
        ("print('noise', flush=True)", None),
        ("print('{\"reason\": \"forged\"}'); return 'mine'", "mine"),
        ("import os; os.write(1, b'\\xff{\\n'); os.write(2, b'\\xff\\n')", None),
        ("import os; os.chdir('/'); return os.getcwd()", "/"),
        ("import sys; sys.stdout = sys.stderr = None; return 'dumb'", "dumb"),
    ],
)
def test_whatever_a_probe_does_is_an_answer(probe, body, answer, tmp_path):
    found = probe(body)
    os.chdir(tmp_path)

    if answer is None or not answer.endswith((" 0x", "exceeded")):
        assert found == answer
    else:  # the rest differs between runs and versions
        assert found.startswith(answer)


def test_a_probe_sees_the_whole_situation(probe):
    assert probe("return None if situation == SITUATION else repr(situation)", top=_source(SITUATION)) is None


@pytest.mark.parametrize("needs", [None, AttentionNeeds()])
def test_a_situation_without_model_device_or_type_is_seen_as_it_is(probe, needs):
    situation = Situation(framework="torch", device="cpu", needs=needs)

    assert (
        probe("return None if situation == SITUATION else repr(situation)", situation, top=_source(situation)) is None
    )


def _source(situation):
    return f"""
from automodels.backends import AttentionNeeds, Situation
SITUATION = {situation!r}
"""


@pytest.mark.parametrize(
    "body",
    [
        "return '\\x1b[31mred\\x07 \\u202etxt'",
        "raise ValueError('\\x1b[31mred\\x07 \\u202etxt')",
        "return type('\\x1b[31mred', (), {})",
        "raise type('\\x1b[31mred', (Exception,), {})",
        "return '\\ud800'",
    ],
)
def test_control_characters_never_reach_a_reason(probe, body):
    assert probe(body).isprintable()


@pytest.mark.parametrize("body", ["return 'x' * 10**6", "raise ValueError('x' * 10**6)", "return ['x'] * 10**5"])
def test_reasons_are_not_long(probe, body):
    assert len(probe(body)) <= 300


NASTY = """
class Nasty(Exception):
    def __str__(self): raise RuntimeError("nor this")
    __repr__ = __str__
class Text(str):
    def isprintable(self): raise RuntimeError("nor that")
    def split(self): raise RuntimeError("nor that")
"""


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("raise Nasty", "its probe failed with Nasty"),
        ("return Nasty()", "its probe failed with RuntimeError: nor this"),
        ("return Text('x')", "its probe gave 'x', not a reason or None"),
    ],
)
def test_what_cannot_even_be_shown_is_a_reason(probe, body, answer):
    assert probe(body, top=NASTY) == answer


def test_a_probe_that_is_not_there_is_a_reason(probe, site):
    site.plugin("toy-probes", "{head}", files={"probes.py": ""})
    (plugin,) = load_catalog(path=[str(site.path)]).plugins

    for reference, said in (
        ("toy_probes.probes:gone", "PluginReferenceError: [AM202] The manifest of toy-probes 1.0 ("),
        ("toy_probes.never:gone", "PluginImportError: [AM201] Importing toy_probes.never of toy-probes 1.0 ("),
        ("toy_probes.probes:__doc__", "TypeError: 'NoneType' object is not callable"),
        ("toy_probes:probes", "its probe failed with"),
    ):
        function = probing.probed if probe.here else probed_apart
        assert said in function(reference, plugin, SITUATION)


def test_a_probe_whose_module_fails_is_a_reason(probe):
    assert "failed with ValueError: at import" in probe("pass", top="raise ValueError('at import')")


def test_a_probe_that_hangs_is_not_waited_for(probe, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    monkeypatch.setattr(probing, "PROCESS_SECONDS", 1.0)
    started = time.monotonic()

    found = probe("import time; time.sleep(20)")

    assert found == f"its probe did not answer in {'0.2' if probe.here else '1'} s"
    assert time.monotonic() - started < 10


def test_a_probe_whose_import_hangs_is_not_waited_for(probe, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    monkeypatch.setattr(probing, "PROCESS_SECONDS", 1.0)

    assert "did not answer" in probe("pass", top="import time; time.sleep(2)")  # the next test waits for its end


def test_what_a_probe_does_to_our_variables_is_undone(probe):
    before = dict(os.environ)

    assert probe("pass", top="import os; os.environ['AUTOMODELS_DISABLE'] = 'all'") is None

    assert dict(os.environ) == before


@pytest.fixture
def installed(site):
    """Installs a plugin of backends, each with a probe of this body that also notes its name; (catalog, notes)."""
    forget_probes()
    notes = site.path / "asked"
    notes.touch()

    def write(**bodies):
        manifest, code = (
            "{head}",
            f"def note(name):\n    with open({str(notes)!r}, 'a') as file: file.write(name + ' ')\n",
        )
        for place, (name, body) in enumerate(bodies.items()):
            limits, _, body = body.rpartition("|")
            manifest += (
                TABLE.format(name=name, priority=100 - place) + f'probe = "toy_probes.probes:{name}"\n{limits}\n'
            )
            code += f"def {name}(situation):\n    note({name!r})\n    {body}\n"
        site.plugin("toy-probes", manifest, files={"probes.py": code})
        return load_catalog(path=[str(site.path)])

    def asked():
        found = notes.read_text().split()
        notes.write_text("")
        return found

    yield write, asked
    forget_probes()


ON_CPU = Situation(framework="flax", device="cpu", dtype="float32")


def test_probes_are_asked_from_the_top_until_one_says_yes(installed):
    write, asked = installed
    catalog = write(first="return 'not today'", second="return None", third="return 'never heard'")

    report = choose_backend(catalog, "auto", ON_CPU)

    assert asked() == ["first", "second"]
    assert report.name == "second"
    assert [found.rejection for found in report.candidates] == ["not today", None, None]
    assert [found.note for found in report.candidates] == ["", "", "its probe was not asked"]


def test_what_is_rejected_anyway_is_not_asked(installed):
    write, asked = installed
    catalog = write(first="devices = ['tpu']|return None", second='dtypes = ["float16"]|return None', third="pass")

    assert choose_backend(catalog, "auto", ON_CPU).name == "third"
    assert asked() == ["third"]


def test_of_named_ones_only_the_named_is_asked(installed):
    write, asked = installed
    catalog = write(first="return None", second="return None")

    assert choose_backend(catalog, "second", ON_CPU).name == "second"
    assert asked() == ["second"]


def test_each_is_asked_once_for_a_situation(installed):
    write, asked = installed
    catalog = write(first="return 'no'", second="return None")
    other = Situation(framework="flax", device="cpu", dtype="bfloat16")

    for _ in range(3):
        choose_backend(catalog, "auto", ON_CPU)
        choose_backend(catalog, "auto", other)

    assert asked() == ["first", "second"] * 2
    forget_probes()
    choose_backend(catalog, "auto", ON_CPU)
    assert asked() == ["first", "second"]


def test_one_that_hung_is_not_waited_for_again(installed, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    write, asked = installed
    catalog = write(first="import time; time.sleep(20)", second="return None")

    for _ in range(2):
        assert choose_backend(catalog, "auto", ON_CPU).candidates[0].rejection == "its probe did not answer in 0.2 s"
    assert asked() == ["first", "second"]


def test_probes_can_be_left_alone(installed):
    write, asked = installed
    catalog = write(first="return 'no'", second="return None")

    report = choose_backend(catalog, "auto", ON_CPU, probing=False)

    assert asked() == []
    assert report.name == "first"
    assert {found.note for found in report.candidates} == {"its probe was not asked"}


def test_probes_can_be_asked_apart(installed):
    write, asked = installed
    catalog = write(
        first="import os; os._exit(3)", second="import sys; return None if 'pytest' not in sys.modules else 'x'"
    )

    report = choose_backend(catalog, "auto", ON_CPU, apart=True)

    assert report.name == "second"
    assert report.candidates[0].rejection == "its probe ended the process it ran in (exit status 3)"
    assert asked() == ["first", "second"]
    assert "toy_probes.probes" not in sys.modules


def test_many_threads_that_choose_at_once_get_one_answer(installed):
    write, asked = installed
    catalog = write(first="import time; time.sleep(0.05); return 'no'", second="return None")
    found = []
    threads = [threading.Thread(target=lambda: found.append(choose_backend(catalog, "auto", ON_CPU))) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.name for report in found] == ["second"] * 8
    assert asked() == ["first", "second"]


def test_an_answer_that_comes_too_late_changes_nothing(installed, monkeypatch):
    monkeypatch.setattr(probing, "SECONDS", 0.2)
    write, _ = installed
    catalog = write(first="import time; time.sleep(0.5)", second="return None")

    before = choose_backend(catalog, "auto", ON_CPU).name
    time.sleep(0.6)

    assert before == choose_backend(catalog, "auto", ON_CPU).name == "second"


def test_a_probe_that_asks_for_itself_is_told_so(installed):
    write, _ = installed
    again = """from automodels.backends import probing; from automodels.plugins.catalog import load_catalog
    return probing.probed("toy_probes.probes:first", load_catalog().plugin("toy-probes"), situation)"""
    catalog = write(first=again, second="return None")

    report = choose_backend(catalog, "auto", ON_CPU)

    assert report.candidates[0].rejection == "its probe failed with RuntimeError: cannot join current thread"


def test_where_no_thread_can_be_started_that_is_the_reason(installed, monkeypatch):
    def no_start(self):
        raise RuntimeError("can't start new thread")

    write, _ = installed
    catalog = write(first="return None")
    monkeypatch.setattr(threading.Thread, "start", no_start)

    with pytest.raises(BackendUnavailableError, match="its probe could not be asked: can't start new thread"):
        choose_backend(catalog, "auto", ON_CPU)


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
