"""Attention functions: one signature for all backends, chosen once when a model is loaded.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

MASKED = -1e30  # finite, so that a row whose keys are all masked is uniform rather than NaN


@runtime_checkable
class AttentionFunction(Protocol):
    """Softmax(q kᵀ · scale + bias) v, with masked scores left out."""

    def __call__(
        self,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B S N H"],
        v: Float[Array, "B S N H"],
        *,
        mask: Bool[Array, "#B #N #T S"] | None = None,
        bias: Float[Array, "#B #N #T S"] | None = None,
        scale: float | None = None,
        dropout_rate: float = 0.0,
        dropout_rng: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T N H"]:
        """`mask` is true where a query may look; `scale` defaults to 1/√H; dropout acts on the weights."""
        ...


def attention_weights(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    *,
    mask: Bool[Array, "#B #N #T S"] | None = None,
    bias: Float[Array, "#B #N #T S"] | None = None,
    scale: float | None = None,
) -> Float[Array, "B N T S"]:
    """Softmax of the scores over the keys, in float32 or wider; a row whose keys are all masked is uniform."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    wide = jnp.promote_types(q.dtype, jnp.float32)  # before they are summed: GPT-Neo's do not fit into float16
    scores = jnp.einsum("btnh,bsnh->bnts", q * jnp.asarray(scale, q.dtype), k, preferred_element_type=wide)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = jnp.where(mask, scores, MASKED)
    return jax.nn.softmax(scores, axis=-1)


def xla_attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    mask: Bool[Array, "#B #N #T S"] | None = None,
    bias: Float[Array, "#B #N #T S"] | None = None,
    scale: float | None = None,
    dropout_rate: float = 0.0,
    dropout_rng: Key[Array, ""] | None = None,
) -> Float[Array, "B T N H"]:
    """The plain formula, left to XLA; every other backend is measured against it."""
    weights = attention_weights(q, k, mask=mask, bias=bias, scale=scale)
    return weighted_values(weights, v, dropout_rate=dropout_rate, dropout_rng=dropout_rng)


def weighted_values(
    weights: Float[Array, "B N T S"],
    v: Float[Array, "B S N H"],
    *,
    dropout_rate: float = 0.0,
    dropout_rng: Key[Array, ""] | None = None,
) -> Float[Array, "B T N H"]:
    """Values summed by their weights, in the values' type."""
    if dropout_rng is not None and dropout_rate > 0:
        kept = jax.random.bernoulli(dropout_rng, 1 - dropout_rate, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout_rate), 0)
    return jnp.einsum("bnts,bsnh->btnh", weights.astype(v.dtype), v)
