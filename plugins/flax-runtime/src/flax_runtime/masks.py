"""Masks: true where a query may look; one function for each reason, combined with `&`.

Shapes: B batch, T query tokens, S key tokens.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def padding_mask(
    attention_mask: Int[Array, "B S"] | Bool[Array, "B S"] | Bool[Array, "B T S"],
) -> Bool[Array, "B 1 #T S"]:
    """False at the keys that are padding: where `attention_mask` is 0; [B, T, S] says so for each query."""
    return (attention_mask != 0)[:, None] if attention_mask.ndim == 3 else (attention_mask != 0)[:, None, None, :]


def causal_mask(queries: int, keys: int, offset: int | Int[Array, ""] = 0) -> Bool[Array, "1 1 T S"]:
    """True at a query's own place and before it; the first query stands at `offset` among the keys.

    Slots of a cache that are not written yet lie behind every query, so this hides them too.
    """
    places = offset + jnp.arange(queries)
    return (jnp.arange(keys)[None, :] <= places[:, None])[None, None]


def last_seen(mask: Bool[Array, "B 1 T S"], window: int) -> Bool[Array, "B 1 T S"]:
    """Of the keys that each query sees the last `window`."""
    seen = jnp.cumsum(mask, axis=-1)
    return mask & (seen > seen[..., -1:] - window)


def window_mask(queries: int, keys: int, window: int, offset: int | Int[Array, ""] = 0) -> Bool[Array, "1 1 T S"]:
    """True at the last `window` places up to a query's own, and behind it; the first query stands at `offset`.

    It is one bound of a sliding window; the other one is `causal_mask`.
    """
    places = offset + jnp.arange(queries)
    return (jnp.arange(keys)[None, :] > places[:, None] - window)[None, None]
