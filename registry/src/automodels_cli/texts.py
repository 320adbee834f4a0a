"""The texts to work on: from the command line, a file, or stdin."""

from __future__ import annotations

import sys
from argparse import Namespace

from automodels.errors import InputError
from automodels_cli.output import Output


def given_texts(arguments: Namespace, output: Output) -> list[str]:
    """The texts in their order; of files and stdin every line that is not blank is one.

    Raises InputError when there are none, or they cannot be read.
    """
    if arguments.text and arguments.file:
        raise InputError("Texts stand on the command line or in --file, not in both.")
    texts = arguments.text or [line.strip() for line in _lines(arguments.file, output)]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise InputError("There is no text.", hints=['Run: registry run embed MODEL "a text" "another text"'])
    return texts


def _lines(file: str | None, output: Output) -> list[str]:
    try:
        if file not in (None, "-"):
            with open(file, encoding="utf-8") as stream:
                return stream.readlines()
        if sys.stdin is None:
            return []
        if sys.stdin.isatty():
            output.note("One text on each line; Ctrl-D ends the list.")
        return sys.stdin.readlines()
    except OSError as error:
        raise InputError(f"{file or 'stdin'} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file or 'stdin'} is not UTF-8: byte {error.start} of a block is wrong.") from error
