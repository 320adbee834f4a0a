"""Attention by the flash kernel that JAX ships in Pallas, compiled by Triton for NVIDIA GPUs.

The kernel (jax.experimental.pallas.ops.gpu.attention; Dao 2023, https://arxiv.org/abs/2307.08691) knows causality and
segments, in which tokens see one another. Lengths are filled up to a multiple of its block with a segment that nobody
sees. Padding is no segment, because a padded token's query sees the others; it becomes one more number in each head.

Shapes: B batch, T tokens, N heads, H head size.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.gpu.attention import BlockSizes, mha
from jaxtyping import Array, Bool, Float

_LARGE_BLOCK, _BLOCK, _GRADIENT_BLOCK = 128, 64, 32  # tokens
_HIDDEN = -3e4  # near the lowest number of float16; scaled by 1/16 it still outweighs any score that occurs
_LARGE_HEAD = 128  # beyond it, two large blocks do not fit in the shared memory of every GPU that the kernel runs on


def pallas_attention(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T N H"],
    v: Float[Array, "B T N H"],
    *,
    mask: Bool[Array, "#B 1 1 T"] | None = None,
    scale: float | None = None,
    causal: bool = False,
    interpret: bool = False,
) -> Float[Array, "B T N H"]:
    """As `AttentionFunction`; with `interpret`, the kernel is computed as JAX, on any device and slowly.

    Raises NotImplementedError where there are not as many keys as queries, and for padding with large heads.
    """
    (batch, tokens, _, size), scale = q.shape, q.shape[-1] ** -0.5 if scale is None else scale
    if tokens != k.shape[1]:
        raise NotImplementedError("attention to other tokens than the queries' own")
    if mask is not None:
        if size >= _LARGE_HEAD:
            raise NotImplementedError(f"padding for heads of {_LARGE_HEAD} numbers or more")
        q, k, v = _with_padding(q, k, v, mask)
    block = _block(tokens, q.shape[3])
    more = -tokens % block
    segments = jnp.broadcast_to(jnp.arange(tokens + more) < tokens, (batch, tokens + more)) if more else None
    q, k, v = (jnp.pad(array, [(0, 0), (0, more), (0, 0), (0, 0)]) for array in (q, k, v))
    found: jax.Array = mha(
        q,
        k,
        v,
        None if segments is None else segments.astype(jnp.int32),
        sm_scale=scale,
        causal=causal,
        block_sizes=_blocks(block),
        interpret=interpret,
    )
    return found[:, :tokens, :, :size]


def _with_padding(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A number more in each head, whose product takes the scores of padding down to where they vanish."""
    hidden = jnp.where(mask[:, 0, 0], 0, _HIDDEN).astype(k.dtype)[:, :, None, None]
    return (
        jnp.concatenate([q, jnp.ones_like(q[..., :1])], axis=-1),
        jnp.concatenate([k, jnp.broadcast_to(hidden, (*k.shape[:3], 1))], axis=-1),
        jnp.pad(v, [(0, 0), (0, 0), (0, 0), (0, 1)]),
    )


def _block(tokens: int, head_size: int) -> int:
    """Tokens in a block: as many as fit, but for short texts the next power of two."""
    largest = _LARGE_BLOCK if head_size <= _LARGE_HEAD else _BLOCK
    return min(largest, max(_GRADIENT_BLOCK, 1 << (tokens - 1).bit_length()))


def _blocks(block: int) -> BlockSizes:
    gradients = dict.fromkeys(("block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq"), _GRADIENT_BLOCK)
    return BlockSizes(block_q=block, block_k=block, **gradients)
