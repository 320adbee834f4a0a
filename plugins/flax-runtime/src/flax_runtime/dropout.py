"""Dropout by explicit keys: without a key nothing is dropped.

Shapes: B batch, D width.
"""

from __future__ import annotations

import jax
from flax import nnx
from jaxtyping import Array, Float


def dropped(dropout: nnx.Dropout, x: Float[Array, "B *T D"], key: jax.Array | None) -> Float[Array, "B *T D"]:
    """`x` with dropout; as it is without a key."""
    kept: jax.Array = dropout(x, deterministic=key is None, rngs=key)
    return kept


def split_key(key: jax.Array | None, count: int) -> tuple[jax.Array | None, ...]:
    """`count` keys, or as many Nones: no dropout."""
    return (None,) * count if key is None else tuple(jax.random.split(key, count))
