"""How a model's calls run: as Python runs them, or compiled by torch.compile in one of its modes."""

from __future__ import annotations

import warnings
from typing import Protocol

from torch import nn


class ExecutionFunction(Protocol):
    """A way of executing; the `implementation` of a backend of kind `execution`."""

    def __call__(self, model: nn.Module) -> None:
        """Has every later call of the model run this way, those that generation makes too.

        It is called when a model is made, loaded, copied or unpickled, on the whole model and not on its parts, and
        replaces what another such function has arranged before.
        """
        ...


def uncompiled(model: nn.Module) -> None:
    """One kernel after the other."""
    model._compiled_call_impl = None


def compiled(model: nn.Module) -> None:
    """Compiled at the first call of a kind, which takes seconds to minutes; see `torch.compile`."""
    _compile(model)


def compiled_with_cuda_graphs(model: nn.Module) -> None:
    """Compiled, and launched as CUDA graphs where the compiler can."""
    _compile(model, mode="reduce-overhead")


def compiled_with_tuning(model: nn.Module) -> None:
    """Compiled, with the kernels that are quickest when tried here; the first call takes minutes."""
    _compile(model, mode="max-autotune")


def _compile(model: nn.Module, *, mode: str | None = None) -> None:
    with warnings.catch_warnings():  # torch's compiler, imported here, uses what torch deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        model.compile(mode=mode)
