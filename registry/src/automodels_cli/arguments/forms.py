"""How arguments are declared: a command, the options that several commands share, and numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def command(commands: Any, name: str, summary: str, module: str | None = None) -> argparse.ArgumentParser:
    this: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    add_common(this, default=argparse.SUPPRESS)
    this.set_defaults(module=f"automodels_cli.commands.{module or name}")
    return this


def add_common(this: argparse.ArgumentParser, default: Any) -> None:
    """Options that may stand before the command and after it; after it, an absent one must not undo the other."""
    this.add_argument("--json", action="store_true", default=default, help="print one JSON document")
    this.add_argument("--traceback", action="store_true", default=default, help="with errors, show where they arose")


def add_variant(this: argparse.ArgumentParser) -> None:
    this.add_argument("--variant", help="a part of the files' names, such as fp16")


def add_where(this: argparse.ArgumentParser) -> None:
    """Options of `locate`."""
    this.add_argument("--revision", help="on the Hub: a branch, tag or commit")
    this.add_argument("--cache-dir", metavar="DIR", help="on the Hub: in place of huggingface_hub's cache")
    this.add_argument("--subfolder", default="", metavar="DIR", help="a folder inside the checkpoint")
    this.add_argument("--token", help="on the Hub; better in the variable HF_TOKEN, where no other user sees it")


def add_choice(this: argparse.ArgumentParser) -> None:
    """What decides among plugins, as the arguments of `from_pretrained`."""
    this.add_argument("--framework", choices=("flax", "torch"), help="%(choices)s")
    this.add_argument("--plugin", help="as the argument of from_pretrained")


def whole(least: int) -> Callable[[str], int]:
    """What reads a whole number that is not below `least`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) < 1 << 31):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return read


def number(most: float = float("inf")) -> Callable[[str], float]:
    """What reads a number above 0 and not above `most`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number <= most or number == float("inf"):
            bound = "" if most == float("inf") else f" and not above {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0{bound}")
        return number

    return read
