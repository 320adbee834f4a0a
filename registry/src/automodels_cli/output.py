"""Everything that the command prints. Data goes to stdout, everything else to stderr.

This is the one place where text is made safe for a terminal: file names, versions and messages may hold whatever a
file system holds, so each text is escaped here before colour is added.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from automodels_cli.table import fields, plain, table

SCHEMA = 1
_GREEN, _YELLOW, _RED, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
_COLOURS = {"ok": _GREEN, "available": _GREEN, "accepted": _GREEN, "chosen": _GREEN, "broken": _RED}
_TEXT_BREAKS = {"\n": "\n", "\t": "\t"}
_JUDGEMENTS = ("STATUS", "VERDICT")


class OutputError(Exception):
    """stdout cannot be written: a full disk, for example."""


class Output:
    """stdout and stderr of one run."""

    def __init__(self, *, as_json: bool = False, environ: Mapping[str, str] = os.environ) -> None:
        self.as_json = as_json
        self._stdout: TextIO | None = sys.stdout  # None when the caller closed it
        self._stderr: TextIO | None = sys.stderr
        terminal = _is_terminal(self._stdout)
        self._colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.width = _width(environ, self._stdout if terminal else None)

    def line(self, text: str = "") -> None:
        """A line of data, or several."""
        for part in text.split("\n"):
            self._write_data(printable(part) + "\n")

    def text(self, piece: str) -> None:
        """A piece of a text that comes in pieces, shown at once; of control characters, lines and tabs are kept."""
        shown = (_TEXT_BREAKS.get(c) or printable(c) for c in piece)
        self._write_data(piece if piece.isprintable() else "".join(shown))
        self.flush()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns, a last one that judges in colour. Nothing when there are no rows."""
        if not rows:
            return
        safe = [[printable(cell) for cell in row] for row in rows]
        paint = _painted if self._colour and headers[-1] in _JUDGEMENTS else plain
        self._write_data("\n".join([*table(headers, safe, self.width, paint), ""]))

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Indented lines `name  value`; pairs with an empty value are left out."""
        safe = [(name, printable(value)) for name, value in pairs if value]
        self._write_data("\n".join([*fields(safe, self.width), ""]))

    def document(self, kind: str, content: Mapping[str, Any], *, indent: int | None = 2) -> None:
        """A JSON document with schema and kind."""
        import json

        text = json.dumps({"schema": SCHEMA, "kind": kind, **content}, indent=indent, allow_nan=False)
        self._write_data(text.replace("\x7f", "\\u007f") + "\n")

    def note(self, text: str) -> None:
        """Something that is no data, on stderr; nothing where that cannot be written: what was asked for counts."""
        if self._stderr is None:
            return
        try:
            for part in text.split("\n"):
                self._stderr.write(_encodable(printable(part), self._stderr) + "\n")
            self._stderr.flush()
        except OSError:
            discard(self._stderr)
            self._stderr = None

    def flush(self) -> None:
        """Writes what is buffered; raises BrokenPipeError or OutputError."""
        with self._writing() as stream:
            stream.flush()

    def _write_data(self, text: str) -> None:
        with self._writing() as stream:
            stream.write(_encodable(text, stream))

    @contextmanager
    def _writing(self) -> Iterator[TextIO]:
        if self._stdout is None:
            raise OutputError("stdout is closed")
        try:
            yield self._stdout
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"stdout cannot be written: {error.strerror}") from error


def discard(stream: TextIO | None) -> None:
    """Lets the interpreter flush what is left of a stream into nothing; else it would complain while it ends."""
    if stream is None:
        return
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    except (OSError, ValueError):  # it has no descriptor
        return


def printable(text: str) -> str:
    """The text with every character escaped that could move a terminal's cursor, or is invisible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _painted(cell: str, piece: str) -> str:
    colour = _COLOURS.get(cell.partition(" ")[0].rstrip(":,"), _YELLOW)
    return f"{colour}{piece}{_PLAIN}"


def _encodable(text: str, stream: TextIO) -> str:
    """The text as a terminal with another encoding than UTF-8 can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _width(environ: Mapping[str, str], terminal: TextIO | None) -> int | None:
    """COLUMNS if it is set, else the terminal's width; None means as wide as it gets."""
    asked = environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and len(asked) < 8 and int(asked) > 0:
        return int(asked)
    if terminal is None:
        return None
    try:
        return os.get_terminal_size(terminal.fileno()).columns or None
    except OSError:
        return None
