"""Attention: one signature for all backends, and the plain formula that they are held against.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from torch_runtime.masks import causal_mask, combined, window_mask


@runtime_checkable
class AttentionFunction(Protocol):
    """Softmax(q kᵀ · scale + bias) v, with masked scores left out.

    Models call it with any of these arguments; the function of a backend gets those that its manifest says it knows:
    `mask` with the feature mask (or padding, for masks [B, 1, 1, S]), `bias` with bias, `dropout` with dropout;
    `is_causal=True` with causal, and `window` with window as well, both in place of mask and bias, and only where T is
    S and the first query stands at the first key. What is None or off is left out. What a function cannot do all the
    same, it refuses with NotImplementedError.

    A query whose keys are all hidden is padding: its result and its gradients are finite, and nothing else.
    """

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        is_causal: bool = False,
        window: int | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """[B, N, T, H] from q [B, N, T, H] and k, v [B, N, S, H].

        `mask` [B or 1, N or 1, T or 1, S] is true where a query may look; `bias` of such a shape is added to scores.
        With `is_causal`, for T = S, a query sees keys up to its own place, and with `window` only the last so many of
        them. `scale` defaults to 1/√H; dropout acts on the weights.
        """
        ...


def attention_weights(
    q: Tensor,
    k: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    window: int | None = None,
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
        mask = lowered(q, k, mask, window)
    if mask is not None:  # `where` is measured to be quicker than `masked_fill` of what has to be negated first
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    return functional.softmax(scores, dim=-1)


def eager_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention as the formula says it; what other backends are compared with."""
    weights = attention_weights(q, k, mask=mask, bias=bias, is_causal=is_causal, window=window, scale=scale)
    return weighted_values(weights, v, dropout=dropout)


def weighted_values(weights: Tensor, v: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Values summed by their weights, in the values' type."""
    return torch.matmul(functional.dropout(weights, dropout, training=dropout > 0).to(v.dtype), v)


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


def lowered(q: Tensor, k: Tensor, mask: Tensor | None, window: int | None) -> Tensor:
    """The mask that says the same as causality, a window and a mask together."""
    queries, keys = q.shape[-2], k.shape[-2]
    near = None if window is None else window_mask(queries, keys, window, q.device)
    found = combined(mask, causal_mask(queries, keys, q.device), near)
    assert found is not None
    return found


def as_numbers(mask: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that they hide what a mask hides, a bias included."""
    added = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask, added, torch.finfo(dtype).min)
