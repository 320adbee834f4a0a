"""Libraries that only some methods of a model need; the distribution's extras install them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from automodels.errors import MissingDependencyError


@contextlib.contextmanager
def needed(library: str, what: str) -> Iterator[None]:
    """For importing a library below: MissingDependencyError, saying what needs it, when it is not installed."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} needs {library}, which is not installed.", hints=[f"Run: pip install {library}"]
        ) from error
