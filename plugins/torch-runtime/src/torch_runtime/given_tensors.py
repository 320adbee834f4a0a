"""A `state_dict` in place of weight files: a checkpoint in memory, planned, refused and filled as any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automodels.checkpoint.formats import TORCH
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.tensors import TensorView, WeightFile
from automodels.errors import InputError, listed
from torch_runtime.tensors import as_source, numpy_dtype

STATE_DICT = "state_dict"


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenTensor(TensorView):
    """A tensor of a `state_dict`. What is filled from it is a copy: the model and the caller share no memory."""

    value: torch.Tensor

    def numpy(self) -> np.ndarray[Any, Any]:
        """The tensor as an array, fetched from its device; on a CPU over the same memory."""
        return as_source(self.value).read()

    def private(self) -> np.ndarray[Any, Any]:
        """A copy of the tensor, row by row."""
        return np.array(self.numpy(), order="C")


def given_checkpoint(state_dict: Mapping[str, torch.Tensor], choice: Mapping[str, Any]) -> Checkpoint:
    """The tensors as a checkpoint with the Hub's names.

    `choice` are options that choose among weight files. Raises InputError when one of them is given too, and for
    anything but a mapping of names to tensors with values.
    """
    chosen = [option for option, value in choice.items() if value not in (None, False)]
    if chosen:
        raise InputError(
            f"state_dict stands in for weight files; {listed(chosen)} chooses among those.", hints=["Pass one of them."]
        )
    if not isinstance(state_dict, Mapping):
        raise InputError(f"{STATE_DICT} is a {type(state_dict).__name__}, not a mapping of names to tensors.")
    given: Mapping[Any, Any] = state_dict  # so far it may hold anything
    wrong = [name for name, value in given.items() if not (isinstance(name, str) and _has_values(value))]
    if wrong:
        found = given[wrong[0]]
        what = "has no values" if getattr(found, "is_meta", False) else f"is a {type(found).__name__}"
        raise InputError(f"{STATE_DICT}[{wrong[0]!r}] {what}; it needs to be a plain tensor, under its name.")
    nowhere = WeightFile(STATE_DICT, 0, 0)
    tensors = {
        name: GivenTensor(
            name=name, dtype=numpy_dtype(value.dtype), shape=tuple(value.shape), file=nowhere, start=0, value=value
        )
        for name, value in state_dict.items()
    }
    return Checkpoint(directory=Path(), files=(STATE_DICT,), tensors=tensors, format=TORCH.name)


def _has_values(value: Any) -> bool:
    """Whether it is a tensor of torch's own kind, neither sparse nor quantised nor spread over devices."""
    if not isinstance(value, torch.Tensor):
        return False
    return type(value.detach()) is torch.Tensor and value.layout == torch.strided and not value.is_meta
