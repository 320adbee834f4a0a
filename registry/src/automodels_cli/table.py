"""Aligned columns that fit a terminal. Nothing is cut off: cells wrap, and where even that is too wide, rows stack.

Columns count as a terminal counts them: two for wide East Asian characters, none for combining ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

GAP = "  "
ABSENT = "-"  # stands in a column that says nothing about a row; left out where rows stack
NARROWEST = 9  # below this many columns a cell is no longer readable, and rows stack instead

Paint = Callable[[str, str], str]
"""(whole cell, piece of it) → the piece with colour."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, paint: Paint) -> Iterator[str]:
    """The lines of a table; `paint` colours the last column, `width` None means as wide as it gets."""
    widths = _fitted([max(map(columns, column)) for column in zip(headers, *rows, strict=True)], width)
    if widths is None:
        assert width is not None  # everything fits into no limit
        yield from _stacked(headers, rows, width, paint)
        return
    yield _joined(headers, widths)
    for row in rows:
        pieces = [wrapped(cell, column) for cell, column in zip(row, widths, strict=True)]
        for level in range(max(map(len, pieces))):
            line = [cell[level] if level < len(cell) else "" for cell in pieces]
            yield _joined(line, widths, partial(paint, row[-1]))


def fields(pairs: Sequence[tuple[str, str]], width: int | None, indent: str = "  ") -> Iterator[str]:
    """Lines `name  value`, the values aligned and wrapped."""
    names = max((columns(name) for name, _ in pairs), default=0)
    room = None if width is None else max(width - len(indent) - names - len(GAP), NARROWEST)
    for name, value in pairs:
        for number, piece in enumerate(wrapped(value, room)):
            yield (indent + padded("" if number else name, names) + GAP + piece).rstrip()


def plain(_: str, piece: str) -> str:
    """No colour."""
    return piece


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def padded(text: str, width: int) -> str:
    """The text, filled up with spaces."""
    return text + " " * (width - columns(text))


def wrapped(text: str, width: int | None) -> list[str]:
    """The text in pieces of at most `width` columns, broken at spaces where possible."""
    if width is None or columns(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if columns(joined) <= width:
            lines[-1] = joined
            continue
        *full, rest = _chopped(word, width)
        lines += [*full, rest]
    return [line for line in lines if line]


def _chopped(word: str, width: int) -> list[str]:
    pieces = [""]
    for char in word:
        if columns(pieces[-1] + char) > width:
            pieces.append("")
        pieces[-1] += char
    return pieces


def _fitted(widths: list[int], limit: int | None) -> list[int] | None:
    """Widths that fit, taken away where most is; None when columns would become too narrow."""
    widths = list(widths)
    while limit is not None and sum(widths) + len(GAP) * (len(widths) - 1) > limit:
        widest = widths.index(max(widths))
        if widths[widest] <= NARROWEST:
            return None
        widths[widest] -= 1
    return widths


def _joined(cells: Sequence[str], widths: Sequence[int], paint_last: Callable[[str], str] = str) -> str:
    *head, last = cells
    line = "".join(padded(cell, width) + GAP for cell, width in zip(head, widths, strict=False))
    return line + paint_last(last) if last else line.rstrip()


def _stacked(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int, paint: Paint) -> Iterator[str]:
    names = max(map(columns, headers))
    room = max(width - names - len(GAP), NARROWEST)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, cell in zip(headers, row, strict=True):
            if cell in ("", ABSENT):
                continue
            colour = paint if name == headers[-1] else plain
            for level, piece in enumerate(wrapped(cell, room)):
                yield padded("" if level else name, names) + GAP + colour(cell, piece)
