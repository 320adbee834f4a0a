"""What the library logs, on stderr and made safe for a terminal."""

from __future__ import annotations

import logging

from automodels_cli.output import Output


def log_to(output: Output) -> None:
    """Sends the library's warnings to stderr; what it logs below that is told by the commands themselves."""
    logger = logging.getLogger("automodels")
    for handler in [each for each in logger.handlers if isinstance(each, _Notes)]:
        logger.removeHandler(handler)
    logger.addHandler(_Notes(output))
    logger.propagate = False


class _Notes(logging.Handler):
    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.note(f"{record.levelname.lower()}: {self.format(record)}")
