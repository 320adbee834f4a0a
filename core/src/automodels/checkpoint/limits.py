"""What the name and the shape of a tensor can be, in whatever format it is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from automodels.errors import CheckpointFormatError
from automodels.plugins.scan import shown

DIMENSIONS = 32  # numpy 1 has no more
NAME_LENGTH = 512  # names of tensors stand in messages


def is_tensor_name(name: str) -> bool:
    """Whether a name can stand in a message as it is: no control characters, no lone surrogates, no endless text."""
    return name.isprintable() and len(name) <= NAME_LENGTH


def check_name(name: str, what: str) -> None:
    """Raises CheckpointFormatError for a name that is none."""
    if not is_tensor_name(name):
        raise CheckpointFormatError(f"{what}: a name has at most {NAME_LENGTH} characters, all of them printable.")


def are_lengths(values: Any) -> TypeGuard[Sequence[int]]:
    """Whether a list or tuple holds nothing but numbers that could be lengths or positions."""
    return isinstance(values, list | tuple) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def size_of(shape: Any, dtype: np.dtype, what: str) -> int:
    """Bytes of a tensor; raises CheckpointFormatError, whose message starts with `what`, when no array is like this."""
    if not are_lengths(shape) or len(shape) > DIMENSIONS:
        raise CheckpointFormatError(f"{what}: the shape {shown(shape)} is not a list of at most {DIMENSIONS} lengths.")
    if math.prod(length or 1 for length in shape) * dtype.itemsize >= 1 << 63:  # an empty array has strides as well
        raise CheckpointFormatError(f"{what}: the shape {shown(shape)} is larger than any array.")
    return math.prod(shape) * dtype.itemsize
