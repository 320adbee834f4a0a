"""Seen: what the queries of a call see of the keys, in words that kernels know.

Causality and windows stay words as long as possible: a kernel that is told skips what is hidden, and one that is given
a mask computes it all. `Attend` says them as a mask to functions that know only masks.

Shapes: B batch, T query tokens, S key tokens, N heads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Bool, Int

from flax_runtime.cache import KVCache
from flax_runtime.masks import causal_mask, last_seen, padding_mask, window_mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """What is seen has to be so by all of these."""

    mask: Bool[Array, "#B #N #T S"] | None = None
    causal: bool = False
    """Only keys up to the query's own place."""

    window: int | None = None
    """With `causal`: only the last so many of those."""

    offset: int | Int[Array, ""] = 0
    """Place of the first query among the keys."""

    @property
    def arguments(self) -> dict[str, Any]:
        """For an attention function."""
        return {"mask": self.mask, "causal": self.causal, "window": self.window, "offset": self.offset}

    def lowered(self, queries: int, keys: int) -> Bool[Array, "#B #N #T S"] | None:
        """The same as one mask; None where everything is seen."""
        parts = [] if self.mask is None else [self.mask]
        if self.causal:
            parts.append(causal_mask(queries, keys, self.offset))
        if self.window is not None and self.window < keys:
            parts.append(window_mask(queries, keys, self.window, self.offset))
        if not parts:
            return None
        first, *others = parts
        for other in others:
            first = first & other
        return first


def encoder_seen(attention_mask: jax.Array | None) -> Seen:
    """What an encoder's queries see, of a mask [B, S] or [B, T, S]: what is not padding."""
    return Seen(mask=None if attention_mask is None else padding_mask(attention_mask))


def decoder_seen(
    attention_mask: Int[Array, "B S"] | Bool[Array, "B S"] | Bool[Array, "B T S"] | None,
    queries: int,
    cache: KVCache | None = None,
    *,
    window: int | None = None,
) -> Seen:
    """What a decoder's queries see: what is not padding, not behind them, and among the last `window` tokens.

    The keys are those that `LayerCache.grown` gives: the call's own, or all slots of a cache. A mask [B, T, S] says for
    each query what it sees, and nothing but the window is asked: beams of one text stand side by side in a cache, each
    with its own past.
    """
    has_past = cache is not None and not cache.is_fresh
    keys = cache.max_length if cache is not None and has_past else queries
    if attention_mask is not None:
        attention_mask = attention_mask[..., :keys]
    if window is not None and keys <= window:  # it hides nothing
        window = None
    if attention_mask is not None and attention_mask.ndim == 3:
        mask = padding_mask(attention_mask)
        return Seen(mask=mask if window is None else last_seen(mask, window))
    offset = cache.length if cache is not None and has_past else 0
    padding = None if attention_mask is None else padding_mask(attention_mask)
    return Seen(mask=padding, causal=True, window=window, offset=offset)
