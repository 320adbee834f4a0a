"""What is printed when something fails, and the exit code."""

from __future__ import annotations

from automodels.errors import AutomodelsError
from automodels_cli.exit_codes import exit_code
from automodels_cli.output import Output


def report(error: Exception, output: Output, *, traceback: bool) -> int:
    """Prints an error and returns the exit code. With --json it is a document on stdout, for people it is on stderr."""
    if traceback:
        import traceback as tracebacks

        output.note("".join(tracebacks.format_exception(error)).rstrip("\n"))
    if isinstance(error, AutomodelsError):
        output.note(f"{type(error).__name__} [{error.code}]: {error.text()}")
    else:
        where = "" if traceback else "; --traceback shows where"
        output.note(f"registry: internal error{where}: {_summary(error)}")
    if output.as_json:
        output.document("error", {"error": _described(error)})
    return exit_code(error)


def _described(error: Exception) -> dict[str, object]:
    ours = error if isinstance(error, AutomodelsError) else None
    return {
        "type": type(error).__name__,
        "code": ours.code if ours else None,
        "message": ours.message if ours else str(error),
        "hints": list(ours.hints) if ours else [],
        "trace": list(ours.trace) if ours else [],
    }


def _summary(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")
