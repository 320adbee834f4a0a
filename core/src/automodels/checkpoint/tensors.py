"""TensorView: a named array in a file, known by its header and read only on demand."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from automodels.errors import CheckpointChangedError, CheckpointFormatError, CheckpointNotFoundError
from automodels.plugins.scan import printable

_TEMPORARY = re.compile(r"\.automodels-[0-9a-f]{16}-(.+)")
"""What `journal.temporary_name` gives."""

_AGAIN = ("Load the checkpoint again.",)


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading; anything else, which could make a reader wait for ever, is refused.

    Raises CheckpointFormatError for a pipe, a device or a directory, CheckpointNotFoundError when it cannot be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise CheckpointFormatError(f"{printable(path)} is not a regular file.")
            yield stream
    except IsADirectoryError as error:
        raise CheckpointFormatError(f"{printable(path)} is not a regular file.") from error
    except OSError as error:
        raise CheckpointNotFoundError(f"{printable(path)} cannot be read: {error.strerror}.") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class WeightFile:
    """A file of tensors, mapped into memory at the first read and kept mapped as long as an array needs it.

    Replacing or removing the file is harmless; cutting it short while it is mapped is not (the system then ends the
    process), which is why automodels itself never changes a weight file in place.
    """

    def __init__(self, path: str, size: int, modified: int) -> None:
        """`size` in bytes and `modified` in nanoseconds are those of the file whose header was verified."""
        self.path = path
        self.size = size
        self.modified = modified
        self._mapped: mmap.mmap | None = None
        self._private: mmap.mmap | None = None
        self._lock = threading.Lock()

    def mapped(self) -> mmap.mmap:
        """The file's bytes, read-only. Raises CheckpointChangedError when it is not the file that was verified."""
        with self._lock:
            if self._mapped is None:
                self._mapped = self._map(_read_only)
            return self._mapped

    def privately_mapped(self) -> mmap.mmap:
        """The file's bytes, for writing: a page that is written to becomes memory of this process alone.

        Nothing ever reaches the file. Raises CheckpointChangedError as `mapped` does.
        """
        with self._lock:
            if self._private is None:
                self._private = self._map(_private)
            return self._private

    def _map(self, mapping: Callable[[int, int], mmap.mmap]) -> mmap.mmap:
        with self._opened() as stream:
            self._check_unchanged(os.fstat(stream.fileno()))
            return mapping(stream.fileno(), self.size)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The file; by its final name if it bore a temporary one and a save has been completed since."""
        folder, name = os.path.split(self.path)
        temporary = _TEMPORARY.fullmatch(name)
        paths = [self.path, os.path.join(folder, temporary[1])] if temporary else [self.path]
        with contextlib.ExitStack() as stack:
            for path in paths:
                try:  # no look at what is there first: a save may rename it between looking and opening
                    stream = stack.enter_context(opened(path))
                except CheckpointNotFoundError:
                    if os.path.lexists(path):
                        raise
                else:
                    break
            else:
                raise CheckpointChangedError(
                    f"{printable(paths[-1])} was removed after its header was verified.", hints=_AGAIN
                )
            yield stream

    def _check_unchanged(self, now: os.stat_result) -> None:
        if now.st_size == self.size and now.st_mtime_ns == self.modified:
            return
        change = f"had {self.size} bytes then and has {now.st_size} now" if now.st_size != self.size else "is newer now"
        raise CheckpointChangedError(
            f"{printable(self.path)} was changed after its header was verified: it {change}.", hints=_AGAIN
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return WeightFile, (self.path, self.size, self.modified)


def _read_only(descriptor: int, size: int) -> mmap.mmap:
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)


def _private(descriptor: int, size: int) -> mmap.mmap:
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    # Without a reservation, a file larger than memory can be mapped: few models are written to as a whole.
    flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0)
    return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorView:
    """One tensor of a checkpoint."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    file: WeightFile
    start: int
    """First byte in the file."""

    strides: tuple[int, ...] | None = None
    """Bytes from one element to the next along each axis, when the tensor does not lie row by row."""

    chunks: tuple[tuple[int, int], ...] = ()
    """(first byte, count of bytes) of each piece, when the tensor lies in several."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the bytes from `start` to `start + nbytes` are the tensor, row by row."""
        return self.strides is None and not self.chunks

    def numpy(self) -> np.ndarray[Any, Any]:
        """The tensor as a read-only array over the mapped file: no copy, and pages are read as they are touched.

        Only a tensor that lies in several chunks is copied, once.
        """
        if not self.nbytes:
            return np.frombuffer(b"", self.dtype).reshape(self.shape)
        if self.chunks:
            return self._assembled()
        mapped = self.file.mapped()
        array: np.ndarray[Any, Any] = np.ndarray(self.shape, self.dtype, mapped, self.start, self.strides)
        return array

    def private(self) -> np.ndarray[Any, Any]:
        """The tensor as an array that may be written to, which never reaches the file.

        Row by row, and without a copy where it lies so; only pages that are written to take memory.
        """
        if not self.is_contiguous or not self.nbytes:
            return np.array(self.numpy(), order="C")
        array: np.ndarray[Any, Any] = np.ndarray(self.shape, self.dtype, self.file.privately_mapped(), self.start)
        return array

    def _assembled(self) -> np.ndarray[Any, Any]:
        mapped = self.file.mapped()
        whole = np.empty(self.nbytes, np.uint8)
        at = 0
        for start, size in self.chunks:
            whole[at : at + size] = np.frombuffer(mapped, np.uint8, count=size, offset=start)
            at += size
        whole.flags.writeable = False
        return whole.view(self.dtype).reshape(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        """A slice of the tensor, over the mapped file."""
        return np.asarray(self.numpy()[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What one weight file holds, whatever its format."""

    tensors: dict[str, TensorView]
    metadata: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    """Names of values that are no tensors: counters, versions, options."""
