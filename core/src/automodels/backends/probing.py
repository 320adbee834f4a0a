"""Probes: functions of plugins that say why a backend cannot run. They may fail and hang; what they say is kept.

A probe is called with a `Situation` when everything that the manifest declares speaks for its backend, and nothing of
a higher priority was taken: at load, beside the framework that is imported then anyway, in a thread that is not waited
for longer than SECONDS. `probed_apart` calls it in a process of its own, which is ended: for commands, which must
neither import a framework nor initialise a device.
"""

from __future__ import annotations

import json
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
_PROCESS_SECONDS = 60.0  # in a process of its own the framework is imported first
_LENGTH = 300

_kept: dict[tuple[str, str, str, Situation], str | None] = {}


def probed(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """Why a probe says that its backend cannot run, or None; the same answer for the rest of the process."""
    key = (plugin.name, plugin.version, reference, situation)
    if key not in _kept:
        _kept.setdefault(key, _in_thread(reference, plugin, situation))
    return _kept[key]


def forget_probes() -> None:
    """Lets every probe be called again."""
    _kept.clear()


def probed_apart(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """As `probed`, in a process of its own; nothing is kept."""
    named = {"name": plugin.name, "version": plugin.version, "location": plugin.location}
    raw = {"reference": reference, "plugin": named, "situation": _as_json(situation), "path": sys.path}
    command = [sys.executable, "-m", "automodels.backends.probe_process"]
    try:
        found = subprocess.run(  # noqa: S603
            command, input=json.dumps(raw), capture_output=True, text=True, check=False, timeout=_PROCESS_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"its probe did not answer in {_PROCESS_SECONDS:g} s"
    answer = found.stdout.rpartition("\n")[2]
    try:
        reason: Any = json.loads(answer)["reason"]
    except (ValueError, KeyError, TypeError):
        return f"its probe ended the process it ran in (exit status {found.returncode})"
    return None if reason is None else printable(str(reason))[:_LENGTH]


def _in_thread(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    answers: list[str | None] = []
    # A daemon: neither its hanging nor its end is waited for.
    thread = threading.Thread(target=lambda: answers.append(asked(reference, plugin, situation)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answers[0] if answers else f"its probe did not answer in {SECONDS:g} s"


def asked(reference: str, plugin: Plugin, situation: Situation) -> str | None:
    """What a probe says when it is called here and now, whatever it does; printable and not long."""
    from automodels.plugins.host import load_reference

    try:
        found = load_reference(reference, plugin)(situation)
    except BaseException as error:  # foreign code, in a thread of its own: also SystemExit is an answer
        said = next(iter(str(error).splitlines()), "")
        return printable(f"its probe failed with {type(error).__name__}: {said}")[:_LENGTH]
    if found is None or isinstance(found, str):
        return found if found is None else printable(found)[:_LENGTH]
    return f"its probe gave {shown(found)}, not a reason or None"


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
