"""TensorView: a named array in a file, known by its header and read only on demand."""

from __future__ import annotations

import math
import mmap
import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.errors import CheckpointFormatError, CheckpointNotFoundError


class WeightFile:
    """A file of tensors, mapped into memory at the first read and kept mapped as long as an array needs it.

    Replacing or removing the file is harmless; cutting it short while it is mapped is not (the system then ends the
    process), which is why automodels itself never changes a weight file in place.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self._mapped: mmap.mmap | None = None
        self._lock = threading.Lock()

    def mapped(self) -> mmap.mmap:
        """The file's bytes, read-only. Raises CheckpointFormatError when its size changed since it was verified."""
        with self._lock:
            if self._mapped is None:
                try:
                    with open(self.path, "rb") as stream:
                        if (size := os.fstat(stream.fileno()).st_size) != self.size:
                            raise CheckpointFormatError(
                                f"{self.path} had {self.size} bytes when it was verified and has {size} now."
                            )
                        self._mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                except OSError as error:
                    raise CheckpointNotFoundError(f"{self.path} cannot be read: {error.strerror}.") from error
            return self._mapped

    def __reduce__(self) -> tuple[Any, ...]:
        return WeightFile, (self.path, self.size)


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorView:
    """One tensor of a checkpoint."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    file: WeightFile
    start: int
    """First byte in the file."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def numpy(self) -> np.ndarray[Any, Any]:
        """The tensor as a read-only array over the mapped file: no copy, and pages are read as they are touched."""
        if not self.nbytes:
            return np.empty(self.shape, self.dtype)
        data = np.frombuffer(self.file.mapped(), self.dtype, count=math.prod(self.shape), offset=self.start)
        return data.reshape(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        """A slice of the tensor, over the mapped file."""
        return np.asarray(self.numpy()[index])
