"""Whether two tensors of files hold the same values, read a part at a time."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from automodels.checkpoint.dtypes import is_floating
from automodels.checkpoint.tensors import TensorView

PART = 1 << 20  # numbers that are compared at once: a few MB, however large the tensors are

Array = np.ndarray[Any, Any]


def same_values(one: TensorView, other: TensorView, *, transposed: bool = False) -> bool:
    """Whether two tensors hold the same values; with `transposed`, one of them lies the other way round.

    Of two floating types, the one with fewer digits counts: what was rounded to it is the same. Two names of one place
    in one file are not read.
    """
    first, second = np.atleast_1d(one.numpy()), np.atleast_1d(other.numpy())
    if transposed:
        second = second.T
    if first.shape != second.shape:
        return False
    if not first.size or _is_one_place(first, second):
        return True
    step = max(1, PART * len(first) // first.size)
    return all(_same(first[at : at + step], second[at : at + step]) for at in range(0, len(first), step))


def _is_one_place(one: Array, other: Array) -> bool:
    start, begin = one.__array_interface__["data"], other.__array_interface__["data"]
    return bool(start == begin and one.strides == other.strides and one.dtype == other.dtype)


def _same(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype and is_floating(one.dtype) and is_floating(other.dtype):
        coarser = min(one.dtype, other.dtype, key=_digits)
        with np.errstate(all="ignore"):
            one, other = one.astype(coarser, copy=False), other.astype(coarser, copy=False)
    if one.dtype == other.dtype and one.dtype.itemsize in (1, 2, 4, 8):
        bits = f"u{one.dtype.itemsize}"
        if np.array_equal(one.view(bits), other.view(bits)):
            return True  # the usual case; otherwise 0 may still be -0
    return bool(np.array_equal(one.astype(np.float64), other.astype(np.float64), equal_nan=True))


def _digits(dtype: np.dtype) -> int:
    count: int = ml_dtypes.finfo(dtype).nmant  # type: ignore[no-untyped-call]
    return count
