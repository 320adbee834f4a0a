"""Masks of calls: true where a query may look; one function for each reason, combined with `&`.

Shapes: B batch, T query tokens, S key tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automodels.errors import InputError
from torch_runtime.inputs import check_tensor


def padding_mask(attention_mask: Tensor) -> Tensor:
    """[B, 1, 1, S] false at the keys that are padding, from [B, S]; [B, 1, T, S] from [B, T, S]."""
    if attention_mask.dim() == 3:
        return (attention_mask != 0)[:, None]
    return (attention_mask != 0)[:, None, None]


def causal_mask(queries: int, keys: int, device: torch.device, offset: int = 0) -> Tensor:
    """[1, 1, T, S] true at a query's own place and before it; the first query stands at `offset` among the keys."""
    places = offset + torch.arange(queries, device=device)
    return (torch.arange(keys, device=device)[None] <= places[:, None])[None, None]


def window_mask(queries: int, keys: int, window: int, device: torch.device, offset: int = 0) -> Tensor:
    """[1, 1, T, S] true at the last `window` places up to a query's own, and behind it."""
    places = offset + torch.arange(queries, device=device)
    return (torch.arange(keys, device=device)[None] > places[:, None] - window)[None, None]


def last_seen(mask: Tensor, window: int) -> Tensor:
    """Of the keys that each query sees in a mask [B, 1, T, S] the last `window`."""
    seen = mask.cumsum(dim=-1)
    return mask & (seen > seen[..., -1:] - window)


def combined(*masks: Tensor | None) -> Tensor | None:
    """True where all of the masks are; None stands for a mask that hides nothing."""
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    result = given[0]
    for mask in given[1:]:
        result = result & mask
    return result


def checked_mask(attention_mask: Tensor | None, batch: int, queries: int, keys: int) -> Tensor | None:
    """The mask, if it is [B, S] or [B, T, S] for `keys` S, and hides something.

    One for each query stays: to a decoder, seeing everything means more than no mask does.
    """
    if attention_mask is None:
        return None
    check_tensor("attention_mask", attention_mask)
    if tuple(attention_mask.shape) not in ((batch, keys), (batch, queries, keys)):
        raise InputError(
            f"attention_mask has shape {list(attention_mask.shape)}; it needs {[batch, keys]} or "
            f"{[batch, queries, keys]}, past tokens included."
        )
    # Kernels are quicker without a mask; looking is free where it waits for no device.
    can_look = attention_mask.dim() == 2 and attention_mask.device.type == "cpu" and not torch.compiler.is_compiling()
    return None if can_look and bool(attention_mask.all()) else attention_mask
