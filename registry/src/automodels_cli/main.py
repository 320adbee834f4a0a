"""The command `registry`: arguments → the module of one command → exit code."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Sequence

from automodels_cli.arguments import parsed
from automodels_cli.exit_codes import BROKEN_PIPE, FINE, INTERNAL, INTERRUPTED
from automodels_cli.output import Output, OutputError, discard


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; no exception leaves it."""
    given = list(sys.argv[1:] if argv is None else argv)
    output = Output(as_json="--json" in given)  # a guess, so that errors of the arguments have the right form too
    try:
        code = _guarded(given, output)
        output.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        return BROKEN_PIPE
    except OutputError as error:
        output.note(f"registry: {error}")
        discard(sys.stdout)
        return INTERNAL
    return code


def _guarded(given: list[str], output: Output) -> int:
    arguments = Namespace(traceback="--traceback" in given)
    try:
        try:
            arguments = parsed(given)
        except SystemExit as done:  # --help was printed
            return int(done.code or FINE)
        output.as_json = arguments.json
        return _run(arguments, output)
    except KeyboardInterrupt:
        output.note("Interrupted.")
        return INTERRUPTED
    except (BrokenPipeError, OutputError):
        raise
    except Exception as error:  # whatever it is, people get one line and scripts an exit code
        from automodels_cli.failures import report

        return report(error, output, traceback=arguments.traceback)


def _run(arguments: Namespace, output: Output) -> int:
    if arguments.version:
        from automodels import __version__

        output.line(f"registry {__version__}")
        return FINE
    if "module" not in arguments:
        from automodels.errors import InputError

        raise InputError(
            f"A command is needed, one of {', '.join(arguments.commands)}.",
            hints=["Run: registry --help"],
        )
    code: int = importlib.import_module(arguments.module).run(arguments, output)
    return code
