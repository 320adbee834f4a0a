"""Arguments of the commands that write decisions down: lock, pin, unpin, enable, disable."""

from __future__ import annotations

import argparse
from typing import Any

from automodels_cli.arguments.forms import command


def add(commands: Any) -> None:
    """Declares them, in the order of the help."""
    _add_lock(commands)
    pin = _add_edit(commands, "pin", "take one plugin for a model type, by the project file")
    pin.add_argument("model_type", help="as in config.json")
    pin.add_argument("plugin", help="an installed plugin that offers it")
    _add_force(pin)
    unpin = _add_edit(commands, "unpin", "take back a pin of the project file")
    unpin.add_argument("model_type", help="as in config.json")
    disable = _add_edit(commands, "disable", "never take a plugin, by the project file", module="enable")
    disable.add_argument("plugin", help="an installed plugin")
    _add_force(disable)
    enable = _add_edit(commands, "enable", "take back that the project file disables a plugin")
    enable.add_argument("plugin", help="a plugin that the project file disables")


def _add_lock(commands: Any) -> None:
    this = command(commands, "lock", "write down which class every model type gets, and the bytes of checkpoints")
    this.add_argument(
        "name", nargs="*", help="a checkpoint to lock as well: directory, pkg:distribution/path, or a model on the Hub"
    )
    this.add_argument("--check", action="store_true", help="write nothing; say what is not as it was locked")
    this.add_argument("--remove", action="append", default=[], metavar="NAME", help="lock this checkpoint no longer")
    this.add_argument("--file", metavar="F", help="the lock file (default: the one in force, else automodels.lock)")


def _add_edit(commands: Any, name: str, summary: str, module: str | None = None) -> argparse.ArgumentParser:
    this = command(commands, name, summary, module=module)
    this.set_defaults(action=name)
    this.add_argument(
        "--file", metavar="F", help="the project file (default: the nearest automodels.toml, else a new one)"
    )
    return this


def _add_force(this: argparse.ArgumentParser) -> None:
    this.add_argument("--force", action="store_true", help="even if nothing of that name is installed")
