"""What may stand where on the command line, told by the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from automodels.plugins.manifest import FRAMEWORKS

NAMES = "names"  # of model types and plugins, which the shell asks the command for
FILES = "files"
BOTH = "both"

# What a value is, by the name of the argument. Others are texts and numbers, which no shell knows.
_KINDS = {
    "name": BOTH, "model": BOTH, "model_type": NAMES, "plugin": NAMES, "pattern": NAMES, "names": NAMES,
    "file": FILES, "source": BOTH, "target": FILES, "cache_dir": FILES, "path": FILES, "directory": FILES,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option with all its spellings."""

    spellings: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]
    kind: str | None


@dataclass(frozen=True, kw_only=True)
class Route:
    """A command, or the command line before one is named."""

    words: tuple[str, ...]
    """`registry`, and the commands that lead here."""

    commands: tuple[tuple[str, str], ...]
    """(name, help) of what may follow."""

    options: tuple[Option, ...]
    choices: tuple[str, ...]
    kind: str | None
    """Of what stands without an option."""

    @property
    def text(self) -> str:
        return " ".join(self.words)


def routes(parser: argparse.ArgumentParser, words: tuple[str, ...] = ("registry",)) -> Iterator[Route]:
    """The parser and all below it."""
    options: list[Option] = []
    commands: list[tuple[str, str]] = []
    below: list[tuple[str, argparse.ArgumentParser]] = []
    choices: tuple[str, ...] = ()
    kind: str | None = None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += ((each.dest, each.help or "") for each in action._choices_actions)
            below += action.choices.items()
        elif action.option_strings:
            options.append(_option(action))
        else:
            choices += tuple(map(str, action.choices or ()))
            kind = kind or _KINDS.get(action.dest)
    yield Route(words=words, commands=tuple(commands), options=tuple(options), choices=choices, kind=kind)
    for name, inner in below:
        yield from routes(inner, (*words, name))


def _option(action: argparse.Action) -> Option:
    return Option(
        spellings=tuple(action.option_strings),
        help=_filled(action),
        takes_value=action.nargs != 0,
        choices=FRAMEWORKS if action.dest == "framework" else tuple(map(str, action.choices or ())),
        kind=_KINDS.get(action.dest),
    )


def _filled(action: argparse.Action) -> str:
    """The help, with `%(default)s` and the like replaced."""
    values = {**vars(action), "choices": ", ".join(map(str, action.choices or ()))}
    return (action.help or "") % values
