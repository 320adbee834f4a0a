"""The worker's side of the line protocol: a request is one line of JSON, its answer another, one at a time.

A request is `{"do": "forward", "batch": 1, "tokens": 128}`; the answer what the command of that name returns, or
`{"error": "…"}`. Only the standard library: the files beside this one run in environments that have nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from typing import Any


def serve(commands: dict[str, Callable[..., Any]]) -> None:
    """Answers requests until the input ends."""
    commands = {**commands, "versions": versions}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = commands[request.pop("do")](**request)
        except Exception:
            found = {"error": traceback.format_exc()}
        print(json.dumps(found), file=answers, flush=True)


def versions() -> dict[str, str]:
    """What is installed of that which decides the speed."""
    found = []
    for name in ("jaxlib", "flax", "torch", "transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return {"versions": ", ".join(found)}


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
