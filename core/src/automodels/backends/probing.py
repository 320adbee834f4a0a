"""Probes: functions of plugins that say why a backend cannot run. They may fail and hang; what they say is kept.

A probe is called with a `Situation` when everything that the manifest declares speaks for its backend, and nothing of
a higher priority was taken: at load, beside the framework that is imported then anyway, in a thread that is not waited
for longer than SECONDS. `probed_apart` calls it in a process of its own, which is ended: for commands, which must
neither import a framework nor initialise a device.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from typing import Any

from automodels.backends.situation import Situation
from automodels.needs import AttentionNeeds
from automodels.plugins.entries import Plugin
from automodels.plugins.scan import printable, shown

SECONDS = 10.0
PROCESS_SECONDS = 60.0  # in a process of its own the framework is imported first
_LENGTH = 300
_PROGRAM = os.path.join(os.path.dirname(__file__), "probe_process.py")

_kept: dict[tuple[str, str, str, Situation], _Question] = {}
_lock = threading.Lock()


def probed(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """Why a probe says that its backend cannot run, or None; the same answer for the rest of the process."""
    key = (plugin.name, plugin.version, reference, situation)
    with _lock:
        if key not in _kept:
            _kept[key] = _Question(reference, plugin, situation)
        question = _kept[key]
    return question.answer()


def forget_probes() -> None:
    """Lets every probe be called again."""
    _kept.clear()


def probed_apart(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """As `probed`, in a process of its own; nothing is kept."""
    named = {"name": plugin.name, "version": plugin.version, "location": plugin.location, "editable": plugin.editable}
    raw = {"reference": reference, "plugin": named, "situation": _as_json(situation), "path": sys.path}
    command = [sys.executable, "-I", _PROGRAM]  # the path is ours, and not what lies in the working directory
    try:
        found = subprocess.run(  # noqa: S603
            command,
            input=json.dumps(raw).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=PROCESS_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"its probe did not answer in {PROCESS_SECONDS:g} s"
    except OSError as error:
        return f"its probe could not be asked: no process could be started ({printable(str(error.strerror))})"
    try:
        reason: Any = json.loads(found.stdout)["reason"]
    except (ValueError, KeyError, TypeError):
        return f"its probe ended the process it ran in ({_ending(found.returncode)})"
    return None if reason is None else printable(str(reason))[:_LENGTH]


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class _Question:
    """A probe's call in a thread of its own, for all who want to know the answer."""

    def __init__(self, reference: str, plugin: Plugin, situation: Situation) -> None:
        self._answers: list[str | None] = []
        # A daemon: neither its hanging nor its end is waited for.
        self._thread = threading.Thread(target=self._ask, args=(reference, plugin, situation), daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            self._answers.append(f"its probe could not be asked: {error}")

    def _ask(self, reference: str, plugin: Plugin, situation: Situation) -> None:
        self._answers.append(asked(reference, plugin, situation))

    def answer(self) -> str | None:
        """The first answer that there was, which may be that there was none; a later one changes nothing."""
        if not self._answers:
            self._thread.join(SECONDS)
        self._answers.append(f"its probe did not answer in {SECONDS:g} s")
        return self._answers[0]


def asked(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """What a probe says when it is called here and now, whatever it does; printable and not long."""
    from automodels.plugins.host import load_reference

    try:
        found = load_reference(reference, plugin)(situation)
        if found is None:
            return None
        if type(found) is str:
            return printable(" ".join(found.split()) or "its probe gives no reason")[:_LENGTH]
        return f"its probe gave {shown(found)}, not a reason or None"
    except BaseException as error:  # foreign code, in a thread of its own: also SystemExit is an answer
        return printable(f"its probe failed with {type(error).__name__}{_said(error)}")[:_LENGTH]


def _said(error: BaseException) -> str:
    """The first line of an error's text; foreign errors may fail even at that."""
    try:
        line = next(iter(str(error).splitlines()), "")
    except Exception:
        return ""
    return f": {line}" if line else ""


def _as_json(situation: Situation) -> dict[str, Any]:
    raw = asdict(situation)
    if situation.needs is not None:
        raw["needs"] = {key: sorted(value) for key, value in raw["needs"].items()}
    return raw


def situation_from_json(raw: dict[str, Any]) -> Situation:
    """What `probed_apart` wrote."""
    needs = raw.pop("needs")
    if needs is not None:
        needs = AttentionNeeds(
            head_sizes=tuple(needs["head_sizes"]),
            always=frozenset(needs["always"]),
            possible=frozenset(needs["possible"]),
        )
    return Situation(**raw, needs=needs)
