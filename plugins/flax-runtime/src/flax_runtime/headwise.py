"""Attention on CPUs: the plain formula, where its table of scores is large for some heads after others.

A table [B, N, T, S] that is far larger than the caches goes out to memory and back for each of its few operations.
Taken in groups of heads it stays near, in less than half of the time; below 32 MiB XLA does better with all at once.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size, G heads in a group.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from flax_runtime.attention import xla_attention

LARGE_TABLE = 32 << 20  # bytes
GROUP_TABLE = 8 << 20  # bytes; measured: 1 to 8 MiB take about the same time


def headwise_attention(
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
    """As `AttentionFunction`. Dropout, and masks and biases that differ among heads, take all heads at once."""
    batch, queries, heads, size = q.shape
    one_head = queries * k.shape[1] * 4  # bytes: scores are float32
    differ = any(array is not None and array.shape[1] > 1 for array in (mask, bias))
    if batch * heads * one_head < LARGE_TABLE or dropout_rng is not None or differ:
        options: dict[str, Any] = {"dropout_rate": dropout_rate, "dropout_rng": dropout_rng}
        return xla_attention(q, k, v, mask=mask, bias=bias, scale=scale, **options)
    fitting = [count for count in range(2, heads + 1) if heads % count == 0 and count * one_head <= GROUP_TABLE]
    group = max(fitting, default=1)

    def of_text(text: tuple[Any, ...]) -> Float[Array, "M T G H"]:
        *arrays, mask, bias = text

        def of_group(heads: list[jax.Array]) -> Float[Array, "T G H"]:
            found: jax.Array = xla_attention(*(array[None] for array in heads), mask=mask, bias=bias, scale=scale)[0]
            return found

        found: jax.Array = jax.lax.map(of_group, arrays)
        return found

    def grouped(array: jax.Array) -> Float[Array, "B M S G H"]:
        return array.reshape(batch, -1, heads // group, group, size).swapaxes(1, 2)

    def of_each_text(array: jax.Array | None) -> jax.Array | None:
        """[B, 1, 1, T, S], to be taken text by text."""
        return None if array is None else jnp.broadcast_to(array, (batch, *array.shape[1:]))[:, None]

    found: jax.Array = jax.lax.map(
        of_text, (grouped(q), grouped(k), grouped(v), of_each_text(mask), of_each_text(bias))
    )
    return found.swapaxes(1, 2).reshape(q.shape)
