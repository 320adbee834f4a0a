"""Filling: tensors of a checkpoint become JAX arrays, each in its layout, type and place.

A tensor is viewed in the mapped file and put on the device in one step, transposed on the way where its layout asks for
it; only a cast needs memory of its own, one tensor at a time.
"""

from __future__ import annotations

import jax
import numpy as np

from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.plan import Assignment, Plan


def fill(plan: Plan) -> dict[str, jax.Array]:
    """Path → array for every assignment of a plan."""
    return {assignment.parameter: _placed(assignment) for assignment in plan.assignments}


def _placed(assignment: Assignment) -> jax.Array:
    tensor = assignment.tensor.numpy()
    if assignment.layout is TRANSPOSED:
        tensor = tensor.T
    if assignment.is_cast:
        tensor = np.asarray(tensor, assignment.dtype)
    # jax may use an aligned array in place: the mapping is read-only, and the array keeps it alive.
    placed: jax.Array = jax.device_put(tensor)
    return placed
