"""Arguments of the commands that tell about the command itself: completion, schema."""

from __future__ import annotations

from typing import Any

from automodels_cli.arguments.forms import command

SHELLS = ("bash", "zsh", "fish")


def add(commands: Any) -> None:
    """Declares them, in the order of the help."""
    this = command(commands, "completion", "a script with which a shell completes this command")
    this.add_argument("shell", choices=SHELLS, help="%(choices)s", metavar="SHELL")
    this = command(commands, "schema", "JSON Schemas of what --json prints")
    this.add_argument("document", nargs="?", metavar="KIND", help="a kind of document; without one, all are listed")
