"""The arguments of every command. Only argparse is imported: help is answered before anything else is loaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from automodels_cli.arguments import authoring, checkpoints, deciding, looking, running, telling
from automodels_cli.arguments.forms import add_common
from automodels_cli.output import OutputError

_EXIT_CODES = """\
exit codes:
    0  fine
    1  attention needed: doctor or check found a problem, lock --check a difference, or list nothing that matches
    2  the command line, an environment variable, the project file or the lock file is malformed
    3  not found: an unknown model type, plugin, or task, or a checkpoint that is not there
    4  ambiguous, no plugin that could be used, or not what a lock file says
    5  a checkpoint or its config is broken
    6  a plugin failed, or a library or backend is missing
   70  an internal error, or stdout cannot be written
  130  interrupted (Ctrl-C)
  141  the reader of stdout went away

Data goes to stdout, everything else to stderr. With --json, stdout holds one JSON document, errors included.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are raised like all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Argparse passes over what cannot be written; who asked for help should know."""
        stream = sys.stdout if file is None else file
        try:
            if stream is not None:
                stream.write(message)
                stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"stdout cannot be written: {error.strerror}") from error

    def error(self, message: str) -> NoReturn:
        from automodels.errors import InputError

        raise InputError(message, hints=[f"Run: {self.prog} --help"])


def parsed(given: Sequence[str]) -> argparse.Namespace:
    """The arguments, `module` among them: the module of the command. Raises InputError when they are malformed."""
    root = parser()
    arguments, rest = root.parse_known_args(given)
    if "text" in arguments:
        # argparse before Python 3.13 gives up on a list of texts once an option stands between the model and them.
        split = rest.index("--") if "--" in rest else len(rest)
        texts = [word for word in rest[:split] if not word.startswith("-") or " " in word] + rest[split + 1 :]
        arguments.text = [*arguments.text, *texts]
        rest = [word for word in rest[:split] if word not in texts]
    if rest:
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    root = _Parser(prog="registry", description="What models are installed, and why you get the class you get.")
    root.epilog = _EXIT_CODES
    root.add_argument("--version", action="store_true", help="print the version and exit")
    add_common(root, default=False)
    # Without `prog`, argparse formats a usage message to find it out, which takes milliseconds.
    commands = root.add_subparsers(metavar="COMMAND", prog="registry")
    for group in (looking, deciding, checkpoints, running, authoring, telling):
        group.add(commands)
    root.set_defaults(commands=tuple(commands.choices))
    return root
