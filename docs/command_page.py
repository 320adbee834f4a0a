"""The page of the command line: every command with its arguments, read off the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from automodels_cli.arguments import parser

COMMON = {"--json", "--traceback", "--help"}


def write_command(page: Path) -> None:
    """Writes the page."""
    root = parser()
    parts = [
        "# The command line\n",
        f"{root.description}\n",
        "`--json` prints one JSON document, `--traceback` shows where an error arose, `--help` explains; every command "
        "takes them, before its name or after. Commands in use are shown in [the command](../command.md), exit codes "
        "in [errors](../errors.md#exit-codes-of-the-command).\n",
    ]
    parts += [text for name, command in commands(root) for text in described(name, command)]
    page.write_text("\n".join(parts), encoding="utf-8")


def commands(this: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """(name, parser) of every command that does something, those of groups such as `run` included."""
    groups = [action for action in this._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield this.prog, this
    for group in groups:
        for name, command in group.choices.items():
            if not command.prog.endswith(name):  # another spelling
                continue
            yield from commands(command)


def described(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    """The section of one command."""
    yield f"## `{name}`\n"
    if command.description:
        yield f"{escaped(command.description)}\n"
    formatter = argparse.HelpFormatter(name, width=60)
    formatter.add_usage(command.usage, own(command), command._mutually_exclusive_groups)
    yield f"```text\n{formatter.format_help().strip()}\n```\n"
    rows = list(arguments(command))
    if rows:
        yield "\n".join(["| argument | means |", "|---|---|", *rows, ""])
    if command.epilog:
        yield f"```text\n{command.epilog.strip()}\n```\n"


def own(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments that not every command has."""
    return [
        action
        for action in command._actions
        if not COMMON & {*action.option_strings} and action.help != argparse.SUPPRESS
    ]


def arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    """A row of the table for each argument of its own."""
    formatter = argparse.HelpFormatter(command.prog)
    for action in own(command):
        metavar = formatter._metavar_formatter(action, action.dest.upper())(1)[0]
        if not action.option_strings:
            shown = metavar if isinstance(action.metavar, str) else action.dest.upper()
        else:
            value = "" if action.nargs == 0 else f" {metavar}"
            shown = ", ".join(f"{option}{value}" for option in action.option_strings)
        means = formatter._expand_help(action) if action.help else ""
        yield f"| `{escaped(shown)}` | {escaped(means)} |"


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
