"""Attention: one signature for all backends, the plain formula, and `Attend`, which models call.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from automodels.errors import InputError
from torch_runtime.masks import causal_mask, combined, window_mask


@runtime_checkable
class AttentionFunction(Protocol):
    """Softmax(q kᵀ · scale + bias) v, with masked scores left out.

    A backend's function takes of these arguments, beside `scale`, those that its manifest says it `supports`: `mask`
    for "mask" or "padding", `bias`, `dropout`, `is_causal` for "causal", and `window`. It is given no others: what it
    does not take reaches it as a mask, or the call is computed by the formula (see `Attend`).

    A query whose keys are all masked is padding: its result is finite, its gradients too, and nothing more is promised.
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

        `mask` [B or 1, N or 1, T or 1, S] is true where a query may look, [B or 1, 1, 1, S] for a backend that supports
        "padding" only; `bias` of the same shapes is added to scores; `is_causal` hides keys behind a query's own place,
        for T = S, and is given in place of a mask; `window`, given with it, also hides all keys but the last `window`
        up to that place; `scale` defaults to 1/√H; dropout acts on the weights.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Attend:
    """What models call: a backend's function, given only what it takes.

    Causality and windows that the function does not know become masks, and masks become numbers that are added to
    scores. A call that it cannot compute all the same is computed by the formula, or refused where the backend was
    asked for by name. Calls of fewer than `min_queries` query tokens are always computed by the formula.
    """

    function: Any
    name: str
    supports: frozenset[str]
    min_queries: int = 1
    is_named: bool = False

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
        """As `AttentionFunction`, and with a mask beside causality. Raises InputError for a call that is refused."""
        if is_causal and not self.knows(mask, window):
            mask, is_causal, window = _lowered(q, k, mask, window), False, None
        if mask is not None and not self._takes(mask) and "bias" in self.supports:
            mask, bias = None, _as_numbers(mask, bias, q.dtype)
        lacking = self._lacking(mask, bias, dropout)
        if lacking and self.is_named:
            raise _refusal(self.name, lacking)
        if lacking or q.shape[-2] < self.min_queries:
            return eager_attention(
                q, k, v, mask=mask, bias=bias, is_causal=is_causal, window=window, scale=scale, dropout=dropout
            )
        given: dict[str, Any] = {"scale": scale}
        if "mask" in self.supports or "padding" in self.supports:
            given["mask"] = mask
        if "bias" in self.supports:
            given["bias"] = bias
        if "dropout" in self.supports:
            given["dropout"] = dropout
        if "causal" in self.supports:
            given["is_causal"] = is_causal
        if "window" in self.supports:
            given["window"] = window
        result: Tensor = self.function(q, k, v, **given)
        return result

    def knows(self, mask: Tensor | None, window: int | None = None) -> bool:
        """Whether the function itself sees to causality, beside a mask and in a window."""
        return mask is None and "causal" in self.supports and (window is None or "window" in self.supports)

    def _takes(self, mask: Tensor) -> bool:
        is_padding = mask.shape[1] == mask.shape[2] == 1
        return "mask" in self.supports or (is_padding and "padding" in self.supports)

    def _lacking(self, mask: Tensor | None, bias: Tensor | None, dropout: float) -> str:
        """What a call needs and the function does not take; empty where there is nothing."""
        if mask is not None and not self._takes(mask):
            return "a mask"
        if bias is not None and "bias" not in self.supports:
            return "a bias"
        return "dropout" if dropout and "dropout" not in self.supports else ""


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
        mask = _lowered(q, k, mask, window)
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


def _lowered(q: Tensor, k: Tensor, mask: Tensor | None, window: int | None) -> Tensor:
    """The mask that says the same as causality, a window and a mask together."""
    queries, keys = q.shape[-2], k.shape[-2]
    near = None if window is None else window_mask(queries, keys, window, q.device)
    found = combined(mask, causal_mask(queries, keys, q.device), near)
    assert found is not None
    return found


def _as_numbers(mask: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that the mask hides what it hides."""
    added = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask, added, torch.finfo(dtype).min)


def _refusal(name: str, lacking: str) -> InputError:
    remedies = {
        "a mask": "Leave out an attention_mask that is all ones, or choose a backend that takes masks, such as",
        "a bias": "Choose a backend that takes a bias, such as",
        "dropout": "Set the config's dropout of attention to 0, or choose a backend that has it, such as",
    }
    return InputError(
        f"The backend {name} cannot compute a call with {lacking}; it was asked for by name, so nothing replaces it.",
        hints=[f'{remedies[lacking]} "sdpa"; with "auto" such calls are computed by the plain formula.'],
    )
