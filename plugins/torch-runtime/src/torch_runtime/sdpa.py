"""Torch's `scaled_dot_product_attention`: by the kernel that torch chooses, or by one kernel alone.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from torch_runtime.attention import as_numbers, eager_attention

FORMULA = "formula"
_HALF = (torch.bfloat16, torch.float16)


def sdpa_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """As `AttentionFunction`, by the kernel that torch takes for types, shapes and device.

    On a CPU, the formula computes what it measured faster at, single tokens in half types; `kernel_of` tells.
    """
    if _formula_is_faster(q, k, dropout):
        q, k = q.float(), k.float()  # as the kernel does: scores in half types would be coarse
        return eager_attention(q, k, v, mask=mask, bias=bias, scale=scale)
    return _fused(q, k, v, mask=mask, bias=bias, is_causal=is_causal, scale=scale, dropout=dropout)


def kernel_of(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> str:
    """What computes a call of `sdpa_attention`: `flash`, `efficient`, `cudnn`, `math`, or on a CPU the `formula`.

    Asked under the same circumstances: gradients, and `torch.nn.attention.sdpa_kernel`, change the answer.
    """
    if _formula_is_faster(q, k, dropout):
        return FORMULA
    chosen = torch._fused_sdp_choice(
        q, k, v, attn_mask=_one_mask(q, mask, bias), dropout_p=dropout, is_causal=is_causal, scale=scale
    )
    return SDPBackend(chosen).name.lower().removesuffix("_attention")


def flash_attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
    """Flash attention alone (Dao 2023, https://arxiv.org/abs/2307.08691)."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return _fused(q, k, v, **given)


def cudnn_attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
    """The attention of NVIDIA's cuDNN alone."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return _fused(q, k, v, **given)


def efficient_attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
    """Memory-efficient attention alone (Rabe and Staats 2021, https://arxiv.org/abs/2112.05682)."""
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        return _fused(q, k, v, **given)


def math_attention(q: Tensor, k: Tensor, v: Tensor, **given: Any) -> Tensor:
    """Torch's own unfused attention, which every device has."""
    with sdpa_kernel(SDPBackend.MATH):
        return _fused(q, k, v, **given)


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    return scaled_dot_product_attention(
        q, k, v, attn_mask=_one_mask(q, mask, bias), dropout_p=dropout, is_causal=is_causal, scale=scale
    )


def _one_mask(q: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """Mask and bias as the one argument that torch has for them."""
    if bias is not None:
        return bias.to(q.dtype) if mask is None else as_numbers(mask, bias, q.dtype)
    if mask is not None and q.device.type != "cpu":
        # Kernels of GPUs may give NaN for a query whose keys are all masked; it sees all of them instead. Those of the
        # CPU give 0 from torch 2.5 on, forwards and backwards, and without these two steps take up to a third less.
        return mask | ~mask.any(dim=-1, keepdim=True)
    return mask


def _formula_is_faster(q: Tensor, k: Tensor, dropout: float) -> bool:
    """Whether the formula takes 0.3 to 0.6 of the time of torch's kernel for CPUs, which is slow at half types.

    In float32 it was faster at some shapes by itself, at 8 texts of one token or 16; inside models it never was.
    """
    if q.device.type != "cpu" or q.dtype not in _HALF or q.shape[2] > 1 or dropout:
        return False
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return q.shape[0] * q.shape[1] * k.shape[2] >= 1024
