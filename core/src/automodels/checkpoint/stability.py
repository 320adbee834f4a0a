"""Reading several files as one, while somebody may be saving: read again when a save came in between.

`while_unchanged` guards what is read at once, `again_if_changed` a whole load, in which a plugin is imported between
reading the config and opening the weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from automodels.checkpoint.journal import RECORD
from automodels.errors import CheckpointChangedError, CheckpointError
from automodels.plugins.scan import printable

T = TypeVar("T")
ATTEMPTS = 5


def while_unchanged(directory: Path, names: Sequence[str], read: Callable[[], T]) -> T:
    """The result of `read`, during which no save of the checkpoint was decided or completed.

    `names` are the files of which every save replaces one, such as the index. Temporary files may come and go. Raises
    what `read` raises, CheckpointChangedError when the files do not come to rest.
    """
    watched = [directory / name for name in (RECORD, *names)]
    for _ in range(ATTEMPTS):
        before, around = _state(watched), _state([directory])
        try:
            result = read()
        except CheckpointError:
            if (_state(watched), _state([directory])) == (before, around):  # a shard may have been renamed
                raise
        else:
            if _state(watched) == before:
                return result
    raise CheckpointChangedError(
        f"{printable(str(directory))} was changed {ATTEMPTS} times while it was being read.",
        hints=["Wait until whatever saves or downloads there has finished."],
    )


def again_if_changed(load: Callable[[], T]) -> T:
    """The result of `load`, which is called again when it raises CheckpointChangedError, a few times."""
    for _ in range(ATTEMPTS - 1):
        try:
            return load()
        except CheckpointChangedError:
            continue
    return load()


def _state(paths: Sequence[Path]) -> list[tuple[int, ...] | None]:
    """Which files these are, and when each was written; links are followed, as a reader does."""
    return [_identity(path) for path in paths]


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
