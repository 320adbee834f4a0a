"""Completing a save that was interrupted after its decision, clearing up after one that was not (see staging)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from automodels.checkpoint.journal import OURS, RECORD, Record, is_there, read_record

_LEFTOVER = re.compile(rf"{re.escape(OURS)}[0-9a-f]{{16}}[-.].+")


def settle(directory: Path) -> None:
    """Completes a save that was decided, removes what is left of one that was not. The directory is locked.

    Raises OSError, and CheckpointFormatError for a record that no save can have left.
    """
    record = read_record(directory)
    if record is not None:
        complete(directory, record)
    clear_leftovers(directory)


def complete(directory: Path, record: Record) -> None:
    """Does what a record says, whatever part of it has been done already, and removes the record. Raises OSError."""
    for name in record.publish:
        temporary = directory / record.temporary(name)
        if is_there(temporary):
            os.replace(temporary, directory / name)
    sync_directory(directory)
    for name in record.remove:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(directory / name)
    sync_directory(directory)
    os.unlink(directory / RECORD)


def clear_leftovers(directory: Path) -> None:
    """Removes temporary files, unless a record still needs them; what cannot be removed waits for the next save."""
    with contextlib.suppress(OSError):
        leftovers = [name for name in os.listdir(directory) if _LEFTOVER.fullmatch(name)]
        if os.path.lexists(directory / RECORD):
            return
        for name in leftovers:
            os.unlink(directory / name)


def sync_directory(directory: Path) -> None:
    """Puts a directory's names on the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)
