"""Dropout that takes half of the random bits that jax.random.bernoulli takes.

Drawing bits is what dropout costs on a CPU: 32 for each number are a twelfth of a training step of a BERT-base. Sixteen
decide as well: a rate is met within 1/131,072, and numbers are scaled by the rate that is met.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

STEPS = 1 << 16  # what 16 bits tell apart


def dropped(x: Float[Array, "... X"], rate: float, key: Key[Array, ""] | None) -> Float[Array, "... X"]:
    """`x` with a share `rate` of its numbers set to zero at random and the others scaled, so that means stay the same.

    Without a key it is `x` as it is (Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html).
    """
    kept = round((1 - rate) * STEPS)
    if key is None or kept == STEPS:
        return x
    if kept == 0:
        return jnp.zeros_like(x)  # gradients of a division by 0 are not numbers
    *others, last = x.shape
    # Pairs are drawn along the last axis, so that the others can be split among devices.
    words = jax.random.bits(key, (*others, (last + 1) // 2), jnp.uint32)
    halves = jnp.concatenate([words >> 16, words & (STEPS - 1)], axis=-1)[..., :last]
    return jnp.where(halves < kept, x * (STEPS / kept), 0)


def split_key(key: Key[Array, ""] | None, count: int) -> tuple[Key[Array, ""] | None, ...]:
    """`count` keys, or as many Nones: no dropout."""
    return (None,) * count if key is None else tuple(jax.random.split(key, count))
