"""Filling: tensors of a checkpoint become JAX arrays, each in its layout, type and place.

A tensor is viewed in the mapped file and put on the device in one step, transposed on the way where its layout asks for
it; only a cast needs memory of its own, one tensor at a time.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.plan import AbstractParameter, Assignment, Plan
from flax_runtime.building import Abstract

THREADS = 4  # each may hold one tensor while it is cast; more do not copy faster
ALIGNMENT = 64  # bytes, as XLA's CPU client asks for


def abstract_parameters(abstract: Abstract) -> dict[str, AbstractParameter]:
    """What a plan needs to know of parameters without values."""
    return {path: AbstractParameter(shape=leaf.shape, dtype=np.dtype(leaf.dtype)) for path, leaf in abstract.items()}


def fill(plan: Plan) -> dict[str, jax.Array]:
    """Path → array for every assignment of a plan.

    What can be used as it lies in the file goes in one call. The rest goes by several threads: copying, transposing and
    the system's work for fresh pages all happen outside of Python.
    """
    ready = {
        assignment.parameter: assignment.tensor.numpy() for assignment in plan.assignments if _is_ready(assignment)
    }
    # jax uses aligned arrays in place: nothing else writes to them, and the arrays keep them alive.
    placed: dict[str, jax.Array] = jax.device_put(ready)
    rest = [assignment for assignment in plan.assignments if assignment.parameter not in ready]
    with ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1)) as threads:
        placed |= zip((assignment.parameter for assignment in rest), threads.map(_placed, rest), strict=True)
    return placed


def _is_ready(assignment: Assignment) -> bool:
    same = assignment.layout is not TRANSPOSED and not assignment.is_cast and assignment.tensor.is_contiguous
    return same and assignment.tensor.numpy().ctypes.data % ALIGNMENT == 0


def _placed(assignment: Assignment) -> jax.Array:
    tensor = assignment.tensor.numpy()
    if assignment.layout is TRANSPOSED:
        tensor = tensor.T
    if assignment.is_cast:
        tensor = _cast(tensor, assignment.dtype)
    placed: jax.Array = jax.device_put(tensor)
    return placed


def _cast(tensor: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in another type, aligned so that jax on a CPU uses it in place and needs no second copy."""
    size = tensor.size * dtype.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    cast: np.ndarray = buffer[start : start + size].view(dtype).reshape(tensor.shape)
    np.copyto(cast, tensor, casting="unsafe")
    return cast
