"""Probes are foreign code: whatever they do, the answer is a reason or None."""

from __future__ import annotations

import os
import time

import pytest

from automodels.backends import (
    AttentionNeeds,
    Situation,
    forget_probes,
    probed_apart,
    probing,
)
from automodels.plugins.catalog import load_catalog

SITUATION = Situation(
    framework="flax",
    device="cuda",
    capability=90,
    dtype="bfloat16",
    needs=AttentionNeeds(head_sizes=(64, 128), always=frozenset({"causal"}), possible=frozenset({"mask", "dropout"})),
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
