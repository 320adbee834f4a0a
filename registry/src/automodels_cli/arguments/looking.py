"""Arguments of the commands that look: list, show, explain, doctor, backends."""

from __future__ import annotations

from typing import Any

from automodels_cli.arguments.forms import add_where, command

STATUSES = ("ok", "empty", "broken", "incompatible", "disabled", "missing-requirement")


def add(commands: Any) -> None:
    """Declares them, in the order of the help."""
    _add_list(commands)
    _add_show(commands)
    _add_explain(commands)
    _add_doctor(commands)
    _add_backends(commands)


def _add_list(commands: Any) -> None:
    this = command(commands, "list", "what is installed: model types, frameworks, tasks, plugins")
    this.add_argument("pattern", nargs="?", help="part of a model type or plugin name, or a pattern with * and ?")
    this.add_argument("--framework", help="only this framework")
    this.add_argument("--task", help="only model types that offer this task")
    this.add_argument("--status", choices=STATUSES, help="only what has this status: %(choices)s", metavar="STATUS")
    this.add_argument("--plugin", help="only this plugin")
    this.add_argument("--names", action="store_true", help="only the names of model types and plugins, for scripts")


def _add_show(commands: Any) -> None:
    this = command(commands, "show", "everything about one model type or plugin")
    this.add_argument("name", help="a model type or a plugin")
    this.add_argument("--fields", action="store_true", help="the fields of the config: type, default, limits, meaning")
    this.add_argument("--keymap", action="store_true", help="tensors of a checkpoint, and the parameters they fill")
    this.add_argument("--all", action="store_true", help="with --fields: those that every config has, too")


def _add_explain(commands: Any) -> None:
    this = command(commands, "explain", "which class would be loaded, and why no other")
    this.add_argument("name", help="a checkpoint (directory or pkg:distribution/path) or a model type")
    this.add_argument("--task", default="base", help="what the model is for (default: %(default)s)")
    this.add_argument("--framework", help="as the argument of from_pretrained")
    this.add_argument("--plugin", help="as the argument of from_pretrained")


def _add_doctor(commands: Any) -> None:
    command(commands, "doctor", "what is wrong with this installation")


def _add_backends(commands: Any) -> None:
    this = command(commands, "backends", "declared backends, which of them can run here, and what a model would get")
    this.add_argument("--framework", help="only this framework")
    this.add_argument("--for", dest="model", metavar="MODEL", help="what this checkpoint or model type would get")
    this.add_argument("--backend", metavar="SPEC", help="with --for: as the argument of from_pretrained")
    this.add_argument("--dtype", help="with --for: the type of the computation (default: float32)")
    this.add_argument("--device", help="with --for: cpu, cuda, … (default: the fastest that the framework can use)")
    this.add_argument("--task", help="with --for: what the model is for (default: what its config names)")
    this.add_argument("--plugin", help="with --for: as the argument of from_pretrained")
    this.add_argument("--probe", action="store_true", help="ask probes as well, each in a process of its own")
    add_where(this)
