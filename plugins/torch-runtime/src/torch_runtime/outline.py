"""Outlines: modules whose tensors have shapes and types, and no memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torch_runtime.initialising import no_init_weights

_DRAWING = frozenset({
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "kaiming_normal_", "kaiming_uniform_", "log_normal_",
    "normal_", "random_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
})  # fmt: skip


class _NothingDrawn(TorchFunctionMode):
    """Leaves tensors without memory alone when random values are drawn for them.

    Torch would draw nothing either, but imports its compiler first, which takes as long as torch itself.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWING:
            tensor = args[0] if args else given.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **given)


@contextlib.contextmanager
def outlining() -> Iterator[None]:
    """Inside, modules are made on the meta device, and no value is drawn."""
    with torch.device("meta"), _NothingDrawn(), no_init_weights():
        yield
