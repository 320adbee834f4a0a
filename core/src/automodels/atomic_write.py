"""Writing one file of the user's, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat

from automodels.errors import InputError
from automodels.plugins.scan import printable


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts `data` into a file, which keeps its permissions; of a link, what it leads to is replaced.

    A reader sees the old file or the new one, whenever the process dies. Raises InputError when it cannot be written;
    nothing was changed then.
    """
    shown = printable(os.fspath(path))
    target = os.path.realpath(path)
    try:
        before = os.stat(target)
    except FileNotFoundError:
        before = None
    except OSError as error:
        raise _refusal(shown, error) from error
    if before is not None and not stat.S_ISREG(before.st_mode):
        raise InputError(f"{shown} is not a regular file; nothing was written.")
    if before is not None and not (before.st_mode & 0o222 and os.access(target, os.W_OK)):
        raise InputError(f"{shown} is read-only; nothing was written.")
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:200]}.{os.urandom(6).hex()}")
    try:
        _write(temporary, data, None if before is None else stat.S_IMODE(before.st_mode))
        os.replace(temporary, target)
        _sync_directory(os.path.dirname(target))
    except OSError as error:
        raise _refusal(shown, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _write(temporary: str, data: bytes, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        if mode is not None:
            os.chmod(temporary, mode)
        os.fsync(descriptor)


def _sync_directory(directory: str) -> None:
    with contextlib.suppress(OSError):  # not every file system lets a directory be synced; the rename counts
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refusal(shown: str, error: OSError) -> InputError:
    return InputError(f"{shown} cannot be written: {error.strerror or error}; nothing was changed.")
