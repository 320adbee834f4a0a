"""One writer at a time in a directory. The system drops the lock of a process that dies, so none is ever stale."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from automodels.checkpoint.journal import OURS
from automodels.errors import CheckpointWriteError
from automodels.plugins.scan import printable

logger = logging.getLogger("automodels")

LOCK = f"{OURS}lock"
PAUSE = 0.05  # seconds between two attempts: little against a save, and no load on a shared file system
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def locked(directory: Path, timeout: float) -> Iterator[None]:
    """Holds the directory's lock; waits up to `timeout` seconds for another process or thread that has it.

    The lock file is removed afterwards. On a file system without locks a warning is logged, and nothing is held.
    Raises CheckpointWriteError when the time is over, OSError when the directory cannot be written to.
    """
    path = directory / LOCK
    deadline = time.monotonic() + timeout
    while (descriptor := _attempt(path)) is None:
        if time.monotonic() >= deadline:
            raise CheckpointWriteError(
                f"{printable(str(directory))}: {_owner(path)} has been saving there for more than {timeout:g} s.",
                hints=["Wait for it, or save into another directory. Nothing was changed."],
            )
        time.sleep(PAUSE)
    try:
        yield
    finally:
        _release(descriptor, path)


def _attempt(path: Path) -> int | None:
    """The lock file, open and locked; None while another one has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    if not _taken(descriptor) or not _is_still(path, descriptor):
        os.close(descriptor)
        return None
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError:
        _release(descriptor, path)
        raise
    return descriptor


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one in the directory, not one that its former owner has just removed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _release(descriptor: int, path: Path) -> None:
    if os.name != "nt":
        with contextlib.suppress(OSError):
            os.unlink(path)  # while it is held: whoever gets it next sees that it is gone
    os.close(descriptor)
    if os.name == "nt":
        with contextlib.suppress(OSError):
            os.unlink(path)


def _owner(path: Path) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            pid = stream.read(20)
    except (OSError, ValueError):
        pid = ""
    return f"process {pid}" if pid.isdigit() else "another process"


if sys.platform == "win32":
    import msvcrt

    def _taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise
            logger.warning("The file system has no locks; two saves into one directory at once would collide.")
        return True
