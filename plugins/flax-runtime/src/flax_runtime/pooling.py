"""Pooling: one vector for each text out of its tokens' hidden states, as sentence-transformers defines it.

Shapes: B batch, T tokens, D hidden size, P number of modes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Hidden = Float[Array, "B T D"]
Mask = Int[Array, "B T"]
Pooled = Float[Array, "B D"]

_LEAST = 1e-9  # in place of a count of 0: a text without tokens has the zero vector


def _mean(x: Hidden, mask: Mask) -> Pooled:
    return _sum(x, mask) / _count(x, mask)


def _mean_sqrt_len(x: Hidden, mask: Mask) -> Pooled:
    return _sum(x, mask) / jnp.sqrt(_count(x, mask))


def _weighted_mean(x: Hidden, mask: Mask) -> Pooled:
    weights = jnp.arange(1, x.shape[1] + 1, dtype=x.dtype)[None] * mask
    return jnp.einsum("btd,bt->bd", x, weights) / jnp.maximum(weights.sum(1, keepdims=True), _LEAST)


def _first_token(x: Hidden, mask: Mask) -> Pooled:
    return jnp.take_along_axis(x, jnp.argmax(mask, 1)[:, None, None], 1)[:, 0]


def _last_token(x: Hidden, mask: Mask) -> Pooled:
    last = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], 1)
    return jnp.take_along_axis(x, last[:, None, None], 1)[:, 0] * mask.any(1, keepdims=True)


def _max(x: Hidden, mask: Mask) -> Pooled:
    return jnp.where(mask[..., None] != 0, x, -jnp.inf).max(1)


def _sum(x: Hidden, mask: Mask) -> Pooled:
    return jnp.einsum("btd,bt->bd", x, mask.astype(x.dtype))


def _count(x: Hidden, mask: Mask) -> Float[Array, "B 1"]:
    return jnp.maximum(mask.sum(1, keepdims=True).astype(x.dtype), _LEAST)


MODES: dict[str, Callable[[Hidden, Mask], Pooled]] = {
    "cls": _first_token,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}


def pool(x: Hidden, mask: Mask, modes: Sequence[str], *, normalize: bool) -> Float[Array, "B PD"]:
    """The modes' vectors side by side, in float32, of length 1 if `normalize`."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    pooled = jnp.concatenate([MODES[mode](x, mask) for mode in modes], axis=-1)
    if normalize:
        pooled = pooled / jnp.maximum(jnp.linalg.norm(pooled, axis=-1, keepdims=True), 1e-12)
    return pooled
