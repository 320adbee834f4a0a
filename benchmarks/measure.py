"""Measuring: commands and functions in turn (A B A B …), medians, ratios, and a record with the machine named."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def seconds_of_commands(
    commands: Mapping[str, list[str]], *, runs: int, env: Mapping[str, str] | None = None
) -> dict[str, list[float]]:
    """Whole-process seconds of each command, run in turn after one warm-up each."""
    return seconds_of_functions(
        {name: (lambda argv=argv: _run(argv, env)) for name, argv in commands.items()}, runs=runs
    )


def seconds_of_functions(
    functions: Mapping[str, Callable[[], Any]], *, runs: int, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of each function, called in turn after `warm` calls each."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(runs + warm):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            if number >= warm:
                found[name].append(time.perf_counter() - started)
    return found


def medians(found: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items()}


def record(name: str, figures: Mapping[str, Any], *, part: bool = False, folder: Path = RESULTS) -> None:
    """Writes the figures with `write`, and prints them."""
    write(name, figures, part=part, folder=folder)
    show(figures)


def write(name: str, figures: Mapping[str, Any], *, part: bool = False, folder: Path = RESULTS) -> None:
    """Writes figures to NAME.json in a folder, with the command and the machine.

    Those of a `part` take the places of older ones, and leave the others as they were.
    """
    machine = {
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu(),
        "python": platform.python_version(),
    }
    folder.mkdir(exist_ok=True, parents=True)
    # Where somebody's environments lie says nothing.
    given = re.sub(r" --\w+-peer[ =]\S+", "", " ".join(["", *sys.argv[1:]]))
    command = f"python benchmarks/{Path(sys.argv[0]).name}{given}"
    path = folder / f"{name}.json"
    found = {"command": command, "machine": machine, **figures}
    if part and path.exists():
        before = json.loads(path.read_text())
        found = {**before, **found, "command": f"{before['command']}; then {command}"}
    path.write_text(json.dumps(found, indent=2) + "\n")


def show(figures: Mapping[str, Any]) -> None:
    width = max(map(len, figures))
    for key, value in figures.items():
        print(f"{key:<{width}}  {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return " · ".join(f"{key} {_shown(part)}" for key, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _run(argv: list[str], env: Mapping[str, str] | None) -> None:
    # Bytecode is written in the warm-up: that is what an installed package has.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = subprocess.DEVNULL
    subprocess.run(argv, check=True, stdout=quiet, stderr=quiet, env={**inherited, **(env or {})})


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
