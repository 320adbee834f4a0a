"""A line on stderr that says how far something is; on a terminal only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from automodels_cli.output import Output

EVERY = 0.1  # seconds between two drawings
WIDTH = 24  # of the bar


class Bar:
    """How many bytes of how many; called by whoever does the work, as often as it likes."""

    def __init__(self, title: str) -> None:
        """Draws nothing yet: what is over at once needs no bar."""
        self._title = title
        self._began = self._drawn = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Draws, unless it just did."""
        now = time.monotonic()
        if now - self._drawn < EVERY or not total:
            return
        self._drawn = now
        share = min(done / total, 1.0)
        filled = round(share * WIDTH)
        speed = done / max(now - self._began, EVERY)
        bar = "█" * filled + "·" * (WIDTH - filled)
        _draw(f"{self._title} {bar} {share:4.0%}  {size(done)} of {size(total)}, {size(speed)}/s")

    def clear(self) -> None:
        """Takes the line away."""
        if self._drawn != self._began:
            _draw("")


@contextmanager
def progress(title: str, output: Output) -> Iterator[Bar | None]:
    """A bar; None with --json, and where stderr is no terminal."""
    if output.as_json or sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    bar = Bar(title)
    try:
        yield bar
    finally:
        bar.clear()


def size(count: float) -> str:
    """Bytes for people, as disks are sold: 2.6 GB, 90.9 MB, 612 B."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def _draw(text: str) -> None:
    """Rewrites the line, cut to the terminal's width: a line that wraps could not be rewritten."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        columns = 80
    text = text[: columns - 1].encode(sys.stderr.encoding or "utf-8", "replace").decode(sys.stderr.encoding or "utf-8")
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
