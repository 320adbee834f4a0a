"""Attention by cuDNN's flash kernel (Dao 2023, https://arxiv.org/abs/2307.08691), on NVIDIA GPUs.

It is reached through `jax.nn.dot_product_attention`. Causality and windows are its own, so what they hide is not
computed; a mask reaches the kernel as numbers that are added to scores.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from flax_runtime.attention import MASKED


def cudnn_attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S N H"],
    v: Float[Array, "B S N H"],
    *,
    mask: Bool[Array, "#B #N #T S"] | None = None,
    bias: Float[Array, "#B #N #T S"] | None = None,
    scale: float | None = None,
    causal: bool = False,
    window: int | None = None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "B T N H"]:
    """As `AttentionFunction`, in float16 or bfloat16; `implementation` "xla" computes the same call on any device."""
    queries, keys = q.shape[1], k.shape[1]
    added = _added(mask, bias, queries, keys, q.dtype)
    if added is not None and (queries % 2 or keys % 2):  # gradients with numbers to add come in even lengths only
        q, k, v, added = _even(q, k, v, added)
    found = jax.nn.dot_product_attention(
        q,
        k,
        v,
        bias=added,
        scale=scale,
        is_causal=causal,
        local_window_size=None if window is None else (window - 1, 0),
        implementation=implementation,
    )
    return found[:, :queries]


def _added(
    mask: jax.Array | None, bias: jax.Array | None, queries: int, keys: int, dtype: jnp.dtype
) -> Float[Array, "#B #N T S"] | None:
    """What is added to scores, for each query: the kernel takes no mask of one row for all of them."""
    if mask is None and bias is None:
        return None
    wide = jnp.zeros((), jnp.float32) if bias is None else bias.astype(jnp.float32)
    wide = wide if mask is None else jnp.where(mask, wide, _lowest(dtype))
    return jnp.broadcast_to(wide, (*wide.shape[:2], queries, keys)).astype(dtype)


def _lowest(dtype: jnp.dtype) -> float:
    """Half of the type's lowest number: a row of them stays finite when scores are added."""
    limits: Any = jnp.finfo  # which has no types
    return max(float(limits(dtype).min) / 2, MASKED)


def _even(q: jax.Array, k: jax.Array, v: jax.Array, added: jax.Array) -> tuple[jax.Array, ...]:
    """One query and one key more where their number is odd; nobody looks at the key."""
    more_queries, more_keys = q.shape[1] % 2, k.shape[1] % 2
    hidden = [(0, 0), (0, 0), (0, more_queries), (0, 0)]
    added = jnp.pad(added, hidden)
    added = jnp.pad(added, [(0, 0), (0, 0), (0, 0), (0, more_keys)], constant_values=_lowest(added.dtype))
    return (
        jnp.pad(q, [(0, 0), (0, more_queries), (0, 0), (0, 0)]),
        *(jnp.pad(array, [(0, 0), (0, more_keys), (0, 0), (0, 0)]) for array in (k, v)),
        added,
    )
