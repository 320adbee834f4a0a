"""Filling: tensors of a checkpoint become parameters, each in its type and place.

On a CPU a tensor whose type agrees is used as it lies in the mapped file: nothing is copied, and what training writes
to stays in this process. Everything else is copied once, by several threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.plan import Assignment, Plan
from torch_runtime.parameters import Held
from torch_runtime.tensors import TORCH_DTYPES, as_torch

THREADS = 4  # each may hold one tensor while it is cast; more do not copy faster


def fill(plan: Plan, parameters: Mapping[str, Held], device: Callable[[str], torch.device]) -> None:
    """Hangs every tensor of a plan where it belongs."""

    def read(assignment: Assignment) -> torch.Tensor:
        tensor = as_torch(assignment.tensor)
        if assignment.layout is TRANSPOSED:
            tensor = tensor.T.contiguous()
        return tensor.to(device(assignment.parameter), TORCH_DTYPES[assignment.dtype.name])

    with ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1)) as threads:
        for assignment, tensor in zip(plan.assignments, threads.map(read, plan.assignments), strict=True):
            parameters[assignment.parameter].put(tensor)
