"""Masks: true where a query may look; one function for each reason, combined with `&`.

Shapes: B batch, T query tokens, S key tokens.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

Mask = Bool[Array, "#B 1 #T S"]


def padding_mask(attention_mask: Int[Array, "B S"] | Bool[Array, "B S"]) -> Bool[Array, "B 1 1 S"]:
    """False at the keys that are padding: where `attention_mask` is 0."""
    return (attention_mask != 0)[:, None, None, :]


def causal_mask(queries: int, keys: int, offset: int | Int[Array, ""] = 0) -> Bool[Array, "1 1 T S"]:
    """True at a query's own place and before it; the first query stands at `offset` among the keys.

    Slots of a cache that are not written yet lie behind every query, so this hides them too.
    """
    places = offset + jnp.arange(queries)
    return (jnp.arange(keys)[None, :] <= places[:, None])[None, None]


def window_mask(queries: int, keys: int, window: int, offset: int | Int[Array, ""] = 0) -> Bool[Array, "1 1 T S"]:
    """True at the last `window` places up to a query's own, and behind it; the first query stands at `offset`.

    It is one bound of a sliding window; the other one is `causal_mask`.
    """
    places = offset + jnp.arange(queries)
    return (jnp.arange(keys)[None, :] > places[:, None] - window)[None, None]


def combined(*masks: Mask | None) -> Mask | None:
    """True where all of the masks are; None stands for a mask that hides nothing."""
    given = [mask for mask in masks if mask is not None]
    if not given:
        return None
    result: jax.Array = given[0]
    for mask in given[1:]:
        result = result & mask
    return result
