"""Attention by torch's `flex_attention`: masks, windows and biases become part of one compiled kernel.

No table of scores is kept (Dong et al. 2024, https://arxiv.org/abs/2412.05496), and blocks of keys that causality or a
window hides are not computed. On a GPU it is compiled at the first call, once for each set of shapes. On a CPU torch
computes it unfused, which is for comparing results.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.attention.flex_attention import flex_attention as flex


def flex_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    is_causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
) -> Tensor:
    """As `AttentionFunction`; on a CPU without gradients, for which torch raises NotImplementedError."""
    if mask is not None:
        # A row whose keys are all masked would give NaN; it is of padding, and sees all keys instead.
        mask = mask | ~mask.any(dim=-1, keepdim=True)
    score = _score(q, k, mask, bias)
    blocks = _blocks(q.shape[2], k.shape[2], window, str(q.device)) if is_causal else None
    function = _compiled() if q.device.type == "cuda" else _unfused
    if torch.compiler.is_compiling():
        function = flex
    found: Tensor = function(q, k, v, score_mod=score, block_mask=blocks, scale=scale)
    return found


def _unfused(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
        return flex(q, k, v, **options)


def _score(q: Tensor, k: Tensor, mask: Tensor | None, bias: Tensor | None) -> Callable[..., Tensor] | None:
    """What becomes of a score, given where it stands."""
    if mask is None and bias is None:
        return None
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    seen = None if mask is None else mask.expand(shape)
    added = None if bias is None else bias.expand(shape)

    def score(value: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if added is not None:
            value = value + added[batch, head, query, key]
        if seen is not None:
            value = torch.where(seen[batch, head, query, key], value, float("-inf"))
        return value

    return score


def _blocks(queries: int, keys: int, window: int | None, device: str) -> BlockMask:
    """Which blocks of keys are looked at by which blocks of queries; kept, as all layers of a call have the same."""
    if torch.compiler.is_compiling():  # what is kept must be no tensor of the compiler's
        return _made_blocks(queries, keys, window, device)
    with torch.inference_mode(False):  # nor one that later calls cannot have gradients with
        return _kept_blocks(queries, keys, window, device)


def _made_blocks(queries: int, keys: int, window: int | None, device: str) -> BlockMask:
    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_past = query >= key
        return is_past if window is None else is_past & (key > query - window)

    return create_block_mask(seen, None, None, queries, keys, device=device)


_kept_blocks = functools.lru_cache(maxsize=16)(_made_blocks)  # lengths of prompts vary


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex)
