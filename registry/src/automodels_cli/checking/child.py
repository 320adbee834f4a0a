"""Code under check runs in a process of its own; this starts it and reads what it reports.

What it prints does not matter. Reports go to a file whose name it does not learn from its arguments, each with a token
that is drawn anew, and the last one says that everything was done: a process that ends early, whatever its exit code,
did not report that. A process that takes too long is ended, with all that it started.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automodels.plugins.scan import read_bounded

REPORT_BYTES = 4 << 20
TAIL = 2000  # characters of what a process that died has written to stderr
DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a process reported."""

    reports: tuple[dict[str, Any], ...]
    ended: str
    """Why it did not get to its end, in words; empty when it did."""


def run_apart(step: str, order: Mapping[str, Any], *, timeout: int) -> Outcome:
    """Runs `automodels_cli.checking.child_steps` in another process; `order` is JSON."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="registry-check-", ignore_cleanup_errors=True) as place:
        file, errors = os.path.join(place, secrets.token_hex(8)), os.path.join(place, "stderr")
        given = {"step": step, "report": file, "token": token, "path": sys.path, **order}
        work = os.path.join(place, "work")
        os.mkdir(work)
        command = [sys.executable, "-X", "faulthandler", "-m", "automodels_cli.checking.child_main"]
        with open(errors, "wb") as stderr:
            process = subprocess.Popen(  # noqa: S603  # our own module
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=work,
                env=_environment(),
                start_new_session=True,
            )
            ended = _waited(process, json.dumps(given).encode(), timeout)
        reports, is_done = _read(file, token)
        if ended or not is_done or process.returncode != 0:
            ended = f"{ended or _ending(process.returncode, done=is_done)}{_last_line(errors)}"
        return Outcome(reports=tuple(reports), ended=ended)


def _environment() -> dict[str, str]:
    """The variables, without those that choose plugins here; the Hub is not asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMODELS_")}
    # What this process found on its path the other one has to find too, before it reads the order.
    here = os.pathsep.join(os.path.abspath(directory) for directory in sys.path if directory)
    return {**kept, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": here}


def _waited(process: subprocess.Popen[bytes], order: bytes, timeout: int) -> str:
    try:
        process.communicate(order, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"took more than {timeout} s and was ended"
    finally:
        _end(process)
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of the process and of those that it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def _read(file: str, token: str) -> tuple[list[dict[str, Any]], bool]:
    """The reports that bear the token, and whether the last one was written."""
    reports: list[dict[str, Any]] = []
    for line in (read_bounded(file, REPORT_BYTES) or b"").splitlines():
        try:
            report = json.loads(line)
        except ValueError:
            continue
        if isinstance(report, dict) and report.get("token") == token:
            reports.append(report)
    return reports, any(report.get("kind") == DONE for report in reports)


def _ending(code: int, *, done: bool) -> str:
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}" + ("" if done else " before its work was done")


def _last_line(file: str) -> str:
    with open(file, "rb") as stream:
        stream.seek(max(0, os.path.getsize(file) - TAIL))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"; it said last: {said[:200]}" if said else ""
