"""Replacing files of a checkpoint directory, all or none, whenever the process dies.

1  lock the directory; complete a save that was interrupted after its decision, clear what is left of others
2  every new file under a temporary name, written and fsynced; then the directory is fsynced. A thread of its own waits
   for the disk, so that one file is on its way while the next is written
3  the record (see journal) by one atomic rename, and an fsync: from here on the new checkpoint counts
4  every file gets its name, the index last; stale files are removed; fsync
5  the record is removed

No file is ever changed in place, so whoever has mapped one keeps what he mapped.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from automodels.checkpoint.directory_lock import locked
from automodels.checkpoint.journal import OURS, RECORD, Record, is_plain_name, temporary_name
from automodels.checkpoint.recovery import clear_leftovers, complete, settle, sync_directory
from automodels.errors import AutomodelsError, CheckpointWriteError, InputError
from automodels.plugins.scan import printable, shown

LOCK_TIMEOUT = 600.0
"""Seconds to wait for another save into the same directory: longer than any but the largest takes."""

_MEANINGS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


class Output:
    """A new file, written without a buffer: arrays go from memory to the system without a copy."""

    def __init__(self, descriptor: int) -> None:
        """Owns nothing: whoever opened the descriptor closes it."""
        self._descriptor = descriptor
        self.written = 0
        """Bytes so far."""

    def write(self, data: bytes | memoryview) -> None:
        """Appends all of the data. Raises OSError."""
        rest = memoryview(data)
        while rest:
            count = os.write(self._descriptor, rest)  # one call writes at most 2 GiB
            self.written += count
            rest = rest[count:]


class Staging:
    """New files of a directory, not visible yet. Made by `staging`."""

    def __init__(self, directory: Path) -> None:
        """Of a directory that is locked and has nothing pending."""
        self.directory = directory
        self._identity = os.urandom(8).hex()
        self._names: list[str] = []
        self._published = False
        self._syncing = ThreadPoolExecutor(max_workers=1)  # in order; a second one would only compete for the disk
        self._synced: list[Future[None]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The new files, in the order in which they were written."""
        return tuple(self._names)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Output]:
        """A new file; `commit` waits until it is on the disk. Raises InputError for an impossible name."""
        if not is_plain_name(name) or name in self._names:
            raise InputError(f"{shown(name)} cannot be the name of a file in a checkpoint, or was written already.")
        self._names.append(name)
        for synced in self._synced:
            if synced.done():
                synced.result()  # raises what the disk said to a file before, rather than write gigabytes more
        descriptor = _create(self.directory / temporary_name(self._identity, name))
        try:
            yield Output(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._synced.append(self._syncing.submit(_sync_and_close, descriptor))

    def close(self) -> None:
        """Waits for the disk; nobody looks at what it said unless `commit` did."""
        self._syncing.shutdown()

    def require(self, nbytes: int) -> None:
        """Raises CheckpointWriteError when the disk has less room than that; a disk that does not tell passes."""
        if not hasattr(os, "statvfs"):
            return
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and nbytes > free:
            raise CheckpointWriteError(
                f"{printable(str(self.directory))}: the checkpoint needs {nbytes / 1e9:.2f} GB beside the old one; the "
                f"disk has {free / 1e9:.2f} GB left.",
                hints=["Free some space, or save into another directory. Nothing was changed."],
            )

    def commit(self, *, remove: Iterable[str] = ()) -> None:
        """Makes the new files current, named in the order in which they were written, and removes stale ones.

        First it waits until all of them are on the disk.
        """
        for name in self._names:
            if os.path.isdir(self.directory / name) and not os.path.islink(self.directory / name):
                raise CheckpointWriteError(f"{printable(str(self.directory / name))} is a directory, not a file.")
        for synced in self._synced:
            synced.result()
        stale = tuple(name for name in remove if name not in self._names)
        record = Record(identity=self._identity, publish=tuple(self._names), remove=stale)
        self._publish(record)
        complete(self.directory, record)

    def _publish(self, record: Record) -> None:
        temporary = self.directory / f"{OURS}{self._identity}.commit"
        descriptor = _create(temporary)
        try:
            Output(descriptor).write(record.to_json())
        finally:
            _sync_and_close(descriptor)
        sync_directory(self.directory)
        self._published = True
        os.replace(temporary, self.directory / RECORD)
        sync_directory(self.directory)

    def reported(self, error: OSError) -> CheckpointWriteError:
        """What a system call's failure means for the checkpoint."""
        if self._published and os.path.lexists(self.directory / RECORD):
            outcome = "The new checkpoint is complete and counts; the next save gives its files their names."
        else:
            outcome = "Nothing was changed: what was there before is still there."
        return write_error(self.directory, error, outcome)


@contextlib.contextmanager
def staging(directory: str | os.PathLike[str], *, lock_timeout: float = LOCK_TIMEOUT) -> Iterator[Staging]:
    """Files to be replaced in a directory, which is made if need be. Without `commit`, everything stays as it was.

    Raises CheckpointWriteError when that cannot be done, CheckpointFormatError for a record that no save can have left.
    """
    target = Path(directory)
    made = _make(target)
    stage = Staging(target)
    try:
        with locked(target, lock_timeout):
            settle(target)
            try:
                yield stage
            finally:
                stage.close()
                clear_leftovers(target)
    except OSError as error:
        if isinstance(error, AutomodelsError):
            raise
        raise stage.reported(error) from error
    finally:
        for folder in made:  # those that the save filled stay
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def write_error(directory: Path, error: OSError, outcome: str) -> CheckpointWriteError:
    """The error that says what a system call's failure means."""
    meaning = _MEANINGS.get(error.errno or 0) or error.strerror or type(error).__name__
    raised = CheckpointWriteError(f"{printable(str(directory))}: saving failed, {meaning}.", hints=[outcome])
    raised.errno = error.errno
    return raised


def _make(directory: Path) -> list[Path]:
    """Makes a directory and its parents; returns those that were not there, the innermost first."""
    missing = [path for path in (directory, *directory.parents) if not os.path.lexists(path)]
    try:
        os.makedirs(directory, exist_ok=True)
        for path in missing:
            sync_directory(path.parent)
    except FileExistsError as error:
        raise CheckpointWriteError(
            f"{printable(str(directory))} is a file; a checkpoint is saved into a directory."
        ) from error
    except NotADirectoryError as error:
        raise CheckpointWriteError(f"{printable(str(directory))} lies below a file.") from error
    except OSError as error:
        raise write_error(directory, error, "Nothing was changed.") from error
    return missing


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o666)  # what the umask leaves of it, as for any other file
