"""Pooling: one vector for each text out of its tokens' states, as sentence-transformers defines it.

Shapes: B batch, T tokens, D hidden size, P number of modes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

_LEAST = 1e-9  # in place of a count of 0: a text without tokens has the zero vector


def pool(x: Tensor, mask: Tensor, modes: Sequence[str], *, normalize: bool) -> Tensor:
    """[B, P · D] the modes' vectors side by side, from states [B, T, D] and a mask [B, T], 0 for padding.

    In float32 at least, and of Euclidean length 1 if `normalize`.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    pooled = torch.cat([MODES[mode](x, mask) for mode in modes], dim=-1)
    return functional.normalize(pooled, dim=-1) if normalize else pooled


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return _sum(x, mask) / _count(x, mask)


def _mean_sqrt_len(x: Tensor, mask: Tensor) -> Tensor:
    return _sum(x, mask) / _count(x, mask).sqrt()


def _weighted_mean(x: Tensor, mask: Tensor) -> Tensor:
    weights = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)[None] * mask
    return torch.einsum("btd,bt->bd", x, weights) / weights.sum(1, keepdim=True).clamp(min=_LEAST)


def _first_token(x: Tensor, mask: Tensor) -> Tensor:
    return _state_at(x, (mask != 0).int().argmax(1))


def _last_token(x: Tensor, mask: Tensor) -> Tensor:
    last = mask.shape[1] - 1 - (mask != 0).flip(1).int().argmax(1)
    return _state_at(x, last) * mask.any(1, keepdim=True)


def _max(x: Tensor, mask: Tensor) -> Tensor:
    return x.masked_fill((mask == 0)[..., None], float("-inf")).amax(1)


def _sum(x: Tensor, mask: Tensor) -> Tensor:
    return torch.einsum("btd,bt->bd", x, mask.to(x.dtype))


def _count(x: Tensor, mask: Tensor) -> Tensor:
    return mask.sum(1, keepdim=True).to(x.dtype).clamp(min=_LEAST)


def _state_at(x: Tensor, places: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0], device=x.device), places]


MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first_token,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
