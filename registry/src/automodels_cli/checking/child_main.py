"""The process in which code under check runs: reads an order from stdin, does one step, reports to a file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from automodels_cli.checking.child import DONE


class Reporter:
    """Writes reports at once, so that a process that dies has said what it knew."""

    def __init__(self, file: str, token: str) -> None:
        self._stream = open(file, "x", encoding="utf-8")  # noqa: SIM115  # open as long as the process lives
        self._token = token

    def __call__(self, kind: str, subject: str = "", message: str = "", **more: Any) -> None:
        report = {"kind": kind, "subject": subject, "message": message[:1000], **more, "token": self._token}
        self._stream.write(json.dumps(report) + "\n")
        self._stream.flush()


def main() -> None:
    """Does what the order says."""
    order = json.loads(sys.stdin.buffer.read())
    report = Reporter(order.pop("report"), order.pop("token"))
    sys.path[:] = [*order.pop("first"), *order.pop("path")]
    from automodels_cli.checking import child_imports, child_models

    steps: dict[str, Callable[..., None]] = {
        "firewall": child_imports.behind_firewall,
        "imports": child_imports.import_references,
        "model": child_models.try_model,
    }
    steps[order.pop("step")](report, **order)
    report(DONE)
    sys.stdout.flush()
    os._exit(0)  # what plugins left to be done at the end of a process is not under check


if __name__ == "__main__":
    main()
