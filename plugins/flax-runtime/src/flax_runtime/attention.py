"""Attention: what all backends compute, and the plain formula that they are held against.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from flax_runtime.dropout import dropped
from flax_runtime.seen import Seen

FEW = 16  # queries: the beams of a text, or one token
MASKED = -1e30  # finite, so that a row whose keys are all masked is uniform rather than NaN


@runtime_checkable
class AttentionFunction(Protocol):
    """Softmax(q kᵀ · scale + bias) v, with scores left out that are not seen.

    Models call it with any of these arguments; the function of a backend gets those that its manifest says it knows:
    `mask` with the feature mask (or padding, for masks [B, 1, 1, S]), `bias` with bias, the last two with dropout;
    `causal=True` with causal, and `window` with window as well, both only where T is S and the first query stands at
    the first key. `offset` is for models alone. What is None or off is left out. Shapes that a function cannot do it
    refuses with NotImplementedError, while it is traced.

    A query whose keys are all hidden is padding: its result and its gradients are finite, and nothing else.
    """

    def __call__(
        self,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B S N H"],
        v: Float[Array, "B S N H"],
        *,
        mask: Bool[Array, "#B #N #T S"] | None = None,
        bias: Float[Array, "#B #N #T S"] | None = None,
        scale: float | None = None,
        causal: bool = False,
        window: int | None = None,
        offset: int | Int[Array, ""] = 0,
        dropout_rate: float = 0.0,
        dropout_rng: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T N H"]:
        """`mask` is true where a query may look; `scale` defaults to 1/√H; dropout acts on the weights.

        With `causal`, a query sees keys up to its own place, and with `window` only the last so many of them; the
        first query stands at `offset` among the keys.
        """
        ...


def attention_weights(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    *,
    mask: Bool[Array, "#B #N #T S"] | None = None,
    bias: Float[Array, "#B #N #T S"] | None = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
    offset: int | Int[Array, ""] = 0,
) -> Float[Array, "B N T S"]:
    """Softmax of the scores over the keys, in float32 or wider; a row whose keys are all masked is uniform."""
    seen = Seen(mask=mask, causal=causal, window=window, offset=offset).lowered(q.shape[1], k.shape[1])
    return jax.nn.softmax(_scores(q, k, mask=seen, bias=bias, scale=scale), axis=-1)


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
    """The plain formula, left to XLA; every other backend is measured against it.

    The values are summed by weights that do not sum to 1 yet, and the sums divided: they are fewer than the weights.
    """
    scores = _scores(q, k, mask=mask, bias=bias, scale=scale)
    highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))  # any number gives the same result
    weights = jnp.exp(scores - highest)
    totals = weights.sum(axis=-1, keepdims=True)
    weights = dropped(weights, dropout_rate, dropout_rng).astype(v.dtype)
    return (_sums(weights, v, totals.dtype) / totals).astype(v.dtype).swapaxes(1, 2)


def weighted_values(
    weights: Float[Array, "B N T S"],
    v: Float[Array, "B S N H"],
    *,
    dropout_rate: float = 0.0,
    dropout_rng: Key[Array, ""] | None = None,
) -> Float[Array, "B T N H"]:
    """Values summed by their weights, in the values' type."""
    weights = dropped(weights, dropout_rate, dropout_rng).astype(v.dtype)
    return _sums(weights, v, v.dtype).swapaxes(1, 2)


def _scores(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    *,
    mask: Bool[Array, "#B #N #T S"] | None,
    bias: Float[Array, "#B #N #T S"] | None,
    scale: float | None,
) -> Float[Array, "B N T S"]:
    """Products of queries and keys, scaled, biased and masked.

    Axes are put in order first: of the same products over other axes XLA makes slower loops on CPUs. The time of a
    few queries, a step of decoding, is that of reading the keys, so they are taken as they lie in a cache. Masking by
    adding needs one number for each key, not a choice for each score; beside MASKED, scores vanish.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scaled = (q * jnp.asarray(scale, q.dtype)).swapaxes(1, 2)
    wide = jnp.promote_types(q.dtype, jnp.float32)  # sums of half types would lose digits, or overflow
    if q.shape[1] <= FEW:
        heads = scaled.reshape(-1, *scaled.shape[2:])
        products = jnp.einsum("pth,psh->pts", heads, _by_head(k), preferred_element_type=wide)
        scores = products.reshape(*scaled.shape[:-1], -1)
    else:
        scores = jnp.matmul(scaled, k.transpose(0, 2, 3, 1), preferred_element_type=wide)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores + jnp.where(mask, 0, MASKED).astype(scores.dtype)
    return scores


def _sums(weights: Float[Array, "B N T S"], v: Float[Array, "B S N H"], dtype: Any) -> Float[Array, "B N T H"]:
    """Values summed by their weights; for a few queries as they lie in a cache."""
    if weights.shape[2] > FEW:
        return jnp.matmul(weights, v.swapaxes(1, 2), preferred_element_type=dtype)
    rows = weights.reshape(-1, *weights.shape[2:])
    products = jnp.einsum("pts,psh->pth", rows, _by_head(v), preferred_element_type=dtype)
    return products.reshape(*weights.shape[:-1], -1)


def _by_head(array: Float[Array, "B S N H"]) -> Float[Array, "P S H"]:
    """Heads of all texts in one axis, P = B · N."""
    return array.swapaxes(1, 2).reshape(-1, array.shape[1], array.shape[3])
