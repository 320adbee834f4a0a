"""SourceTensor: what a writer needs to know of a tensor before it reads it, and how it reads it, once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from automodels.checkpoint.tensors import TensorView
from automodels.errors import InputError
from automodels.plugins.scan import shown


class SourceTensor(Protocol):
    """A tensor that can be had as an array. Its type and shape are known before, and are what `read` returns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""

    def read(self) -> np.ndarray[Any, Any]:
        """The array; called once, and dropped before the next tensor is read."""


@dataclass(frozen=True)
class LazyTensor:
    """A SourceTensor made of a function, for instance one that fetches an array from a device."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray[Any, Any]]

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize


Source = SourceTensor | TensorView | np.ndarray[Any, Any]
"""What can be saved."""


def source_of(tensor: Source) -> SourceTensor:
    """The tensor as a SourceTensor."""
    if isinstance(tensor, TensorView):
        return LazyTensor(tensor.dtype, tensor.shape, tensor.numpy)
    if isinstance(tensor, np.ndarray):
        return LazyTensor(tensor.dtype, tensor.shape, lambda: tensor)
    return tensor


def content(name: str, source: SourceTensor) -> memoryview:
    """The bytes of a tensor, little-endian and in C order; a copy only if the array lies otherwise.

    Raises InputError when the array is not what the source promised.
    """
    array = source.read()
    if array.dtype != source.dtype or array.shape != tuple(source.shape):
        raise InputError(
            f"The tensor {shown(name)} was announced as {source.dtype} of shape {list(source.shape)} and came as "
            f"{array.dtype} of shape {list(array.shape)}."
        )
    array = np.ascontiguousarray(array, stored_dtype(array.dtype))
    return array.reshape(-1).view(np.uint8).data


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The little-endian type of the same values."""
    return dtype.newbyteorder("<") if dtype.byteorder == ">" else dtype
