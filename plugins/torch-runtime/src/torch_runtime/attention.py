"""Attention functions: one signature for all backends, chosen once when a model is made.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional


@runtime_checkable
class AttentionFunction(Protocol):
    """Softmax(q kᵀ · scale + bias) v, with masked scores left out."""

    def __call__(
        self,
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
        """[B, N, T, H] from q [B, N, T, H] and k, v [B, N, S, H].

        `mask` [B or 1, N or 1, T or 1, S] is true where a query may look; `is_causal` says the same of keys up to the
        query's own place, for T = S, and is given in place of a mask; `scale` defaults to 1/√H; dropout acts on the
        weights.
        """
        ...


def attention_weights(
    q: Tensor,
    k: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """[B, N, T, S] softmax of the scores in float32 at least; a row whose keys are all masked is uniform."""
    if q.dtype == torch.float16:  # products may lie beyond its range, those of GPT-Neo do
        q, k = q.float(), k.float()
    scores = torch.matmul(q, k.transpose(-1, -2))
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if is_causal:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return functional.softmax(scores, dim=-1)


def eager_attention(
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
    """Attention as the formula says it; the one that shows its weights."""
    weights = attention_weights(q, k, mask=mask, bias=bias, is_causal=is_causal, scale=scale)
    return weighted_values(weights, v, dropout=dropout)


def weighted_values(weights: Tensor, v: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Values summed by their weights, in the values' type."""
    return torch.matmul(functional.dropout(weights, dropout, training=dropout > 0).to(v.dtype), v)


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
    """Torch's `scaled_dot_product_attention`, which takes the best kernel for types, shapes and device."""
    if bias is not None:
        lowest = torch.finfo(q.dtype).min
        mask = bias.to(q.dtype) if mask is None else torch.where(mask, bias.to(q.dtype), lowest)
    if mask is not None and mask.dtype == torch.bool:
        # Kernels give NaN for a row whose keys are all masked; such a row is of padding, and sees all keys instead.
        mask = mask | ~mask.any(dim=-1, keepdim=True)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal, scale=scale
    )


def attended(
    attend: AttentionFunction,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    head_mask: Tensor | None,
    shown: bool,
    dropout: float,
    **seen: Any,
) -> tuple[Tensor, Tensor | None]:
    """[B, N, T, H] what queries get, and the weights [B, N, T, S] where they are `shown`, for models to call.

    `head_mask` [N] scales heads; `seen` are the other arguments of an AttentionFunction.
    """
    weights = attention_weights(q, k, **seen) if shown else None
    x = attend(q, k, v, dropout=dropout, **seen) if weights is None else weighted_values(weights, v, dropout=dropout)
    if head_mask is not None:
        # Scaling a head's result equals scaling its weights, and leaves the weights to the backend.
        x = x * head_mask.to(x.dtype)[None, :, None, None]
        weights = None if weights is None else weights * head_mask.to(weights.dtype)[None, :, None, None]
    return x, weights
