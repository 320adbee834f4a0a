"""Linear: torch's layer, which on a CPU multiplies by oneDNN where no gradient is asked for.

Torch itself sends float32 to MKL, which for few rows reaches less than half of the memory's bandwidth; oneDNN, which
torch has for other types, reaches nearly all of it (benchmarks/pytorch.py). Both compute in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch._C._has_mkldnn else None


class Linear(nn.Linear):
    """x Wᵀ + b."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """[…, F] from [..., E]."""
        if _ONEDNN is not None and _is_plain(input, self.weight):
            product: Tensor = _ONEDNN(input, self.weight, self.bias, "none", [], "")
            return product
        return functional.linear(input, self.weight, self.bias)


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether this is a product of float32 numbers on a CPU that nobody differentiates, traces or casts.

    Quantised weights and others are tensors of their own types, and know their own products.
    """
    return (
        not torch.is_grad_enabled()
        and x.dtype is torch.float32
        and weight.dtype is torch.float32
        and type(weight) is nn.Parameter
        and type(x) is Tensor
        and x.is_cpu
        and weight.is_cpu
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None  # torch.jit.trace, torch.onnx
        and torch._C._functorch.peek_interpreter_stack() is None  # neither vmap nor grad of torch.func
    )
