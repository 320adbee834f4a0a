"""The texts to work on, or the prompt to go on from: from the command line, a file, or stdin."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TextIO

from automodels.errors import InputError
from automodels_cli.output import Output, printable

CHARACTERS = 64 << 20  # of all texts together; whoever has more calls the library

_EXAMPLES = {
    "run_embed": 'Run: registry run embed MODEL "a text" "another text"',
    "run_fill_mask": 'Run: registry run fill-mask MODEL "a text with a [MASK]"',
}
_ASKED = "One text on each line; Ctrl-D ends the list."


def given_texts(arguments: Namespace, output: Output) -> list[str]:
    """The texts in their order; of files and stdin every line that is not blank is one.

    Raises InputError when there are none, or they cannot be read.
    """
    if arguments.text and arguments.file:
        raise InputError("Texts stand on the command line or in --file, not in both.")
    texts = arguments.text or [line.strip() for line in _content(arguments.file, output, _ASKED).split("\n")]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise InputError("There is no text.", hints=[_EXAMPLES[arguments.module.rpartition(".")[2]]])
    return texts


def given_prompt(arguments: Namespace, output: Output) -> str:
    """The text to go on from; of a file and of stdin all of it, without what ends its last line.

    Raises InputError when there is none, when there are several, or it cannot be read.
    """
    if len(arguments.text) > 1:
        raise InputError(
            f"There are {len(arguments.text)} prompts; one is continued.",
            hints=['Put quotes around it: registry run generate MODEL "a text of several words"'],
        )
    if arguments.text and arguments.file:
        raise InputError("The prompt stands on the command line or in --file, not in both.")
    asked = "The prompt; Ctrl-D ends it."
    prompt: str = arguments.text[0] if arguments.text else _content(arguments.file, output, asked).removesuffix("\n")
    if not prompt.strip():
        raise InputError("The prompt is empty.", hints=['Run: registry run generate MODEL "a text"'])
    return prompt


def _bounded(stream: TextIO, name: str) -> str:
    """All of it; raises InputError when it does not end, as a device would not."""
    text = stream.read(CHARACTERS + 1)
    if len(text) > CHARACTERS:
        raise InputError(f"{printable(name)} has more than {CHARACTERS >> 20} million characters.")
    return text


def _content(file: str | None, output: Output, asked: str) -> str:
    try:
        if file not in (None, "-"):
            with open(file, encoding="utf-8") as stream:
                return _bounded(stream, file)
        if sys.stdin is None:
            return ""
        if sys.stdin.isatty():
            output.note(asked)
        return _bounded(sys.stdin, "stdin")
    except OSError as error:
        raise InputError(f"{file or 'stdin'} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file or 'stdin'} is not UTF-8: byte {error.start} of a block is wrong.") from error
