"""Attention by torch's `flex_attention`: masks and biases become part of one compiled kernel.

No table of scores is kept (Dong et al. 2024, https://arxiv.org/abs/2412.05496). On a GPU it is compiled at the first
call, once for each set of shapes. On a CPU torch computes it unfused, which is for comparing results.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention as flex

from automodels.errors import InputError


def flex_attention(
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
    """As `AttentionFunction`; raises InputError for dropout, which the kernel does not have."""
    if dropout:
        raise InputError(
            f"flex_attention has no dropout; the config asks for {dropout} in training.",
            hints=['Use backend="sdpa", or a config with attention dropout 0.'],
        )
    if mask is not None:
        # A row whose keys are all masked would give NaN; it is of padding, and sees all keys instead.
        mask = mask | ~mask.any(dim=-1, keepdim=True)
    score = _score(q, k, mask, bias, is_causal)
    if q.device.type == "cuda" and not torch.compiler.is_compiling():
        compiled: Tensor = _compiled()(q, k, v, score_mod=score, scale=scale)
        return compiled
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
        result: Any = flex(q, k, v, score_mod=score, scale=scale)
    found: Tensor = result
    return found


def _score(
    q: Tensor, k: Tensor, mask: Tensor | None, bias: Tensor | None, is_causal: bool
) -> Callable[..., Tensor] | None:
    """What becomes of a score, given where it stands."""
    if mask is None and bias is None and not is_causal:
        return None
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    seen = None if mask is None else mask.expand(shape)
    added = None if bias is None else bias.expand(shape)

    def score(value: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if added is not None:
            value = value + added[batch, head, query, key]
        if seen is not None:
            value = torch.where(seen[batch, head, query, key], value, float("-inf"))
        if is_causal:
            value = torch.where(query >= key, value, float("-inf"))
        return value

    return score


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex)
