"""Commands and resolution with 10, 100 and 1,000 plugins of five entries each; what one plugin more costs.

Whole processes, with bytecode written before. Three plugins are broken, and each stands among four other distributions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from listing import make_site
from measure import medians, record, seconds_of_commands

SIZES = (10, 100, 1000)
COMMANDS = {
    "list": ["list"],
    "list --json": ["list", "--json"],
    "explain": ["explain", "toy9"],
    "show": ["show", "toy9"],
    "doctor": ["doctor"],
    "backends": ["backends"],
}
COMMAND = "import sys; sys.path.insert(0, {!r}); from automodels_cli.main import main; main({!r})"
RESOLUTION = """
import json, sys, time
sys.path.insert(0, {!r})
import automodels
from automodels.config import PretrainedConfig  # what both need anyway
seconds = []
for number in (9, 8, 9, 6, 8):
    started = time.perf_counter()
    automodels.resolve(f"toy{{number}}", task="masked-lm")
    seconds.append(time.perf_counter() - started)
started = time.perf_counter()
automodels.AutoConfig.from_pretrained({!r})
config = time.perf_counter() - started
print(json.dumps({{"first": seconds[0], "later": sorted(seconds[1:])[2], "AutoConfig, later": config}}))
"""
CONFIG = """
from automodels.config import PretrainedConfig


class ToyConfig(PretrainedConfig):
    model_type = "toy9"
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        sites = {size: make_site(Path(scratch) / str(size), size, 5 * size) for size in SIZES}
        for site in sites.values():
            (site / "toy_9" / "config.py").write_text(CONFIG)
        checkpoint = Path(scratch) / "checkpoint"
        checkpoint.mkdir()
        (checkpoint / "config.json").write_text('{"model_type": "toy9"}')
        figures: dict[str, Any] = {f"{name}, ms": _of_command(arguments, sites) for name, arguments in COMMANDS.items()}
        figures |= _of_resolution(sites, checkpoint)
    record("scale", figures)


def _of_command(arguments: list[str], sites: dict[int, Path]) -> dict[str, Any]:
    commands = {str(size): [sys.executable, "-c", COMMAND.format(str(site), arguments)] for size, site in sites.items()}
    empty = [sys.executable, "-c", COMMAND.format(sys.path[0], ["--version"])]
    found = medians(seconds_of_commands({"none": empty, **commands}, runs=7))
    return _with_ratio({name: seconds * 1e3 for name, seconds in found.items()})


def _of_resolution(sites: dict[int, Path], checkpoint: Path) -> dict[str, Any]:
    runs: dict[str, dict[str, list[float]]] = {}
    for _ in range(7):
        for size, site in sites.items():
            program = RESOLUTION.format(str(site), str(checkpoint))
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            for name, seconds in json.loads(done.stdout).items():
                runs.setdefault(name, {}).setdefault(str(size), []).append(seconds * 1e3)
    return {f"resolve {name}, ms": _with_ratio(medians(found)) for name, found in runs.items()}


def _with_ratio(found: dict[str, float]) -> dict[str, Any]:
    """With what one plugin more costs between 100 and 1,000, against between 10 and 100: 1 is linear."""
    few, some, many = (found[str(size)] for size in SIZES)
    ratio = (many - some) / (SIZES[2] - SIZES[1]) / ((some - few) / (SIZES[1] - SIZES[0]))
    return {**found, "a plugin more, at 1,000 / at 100 (limit 2)": ratio}


if __name__ == "__main__":
    main()
