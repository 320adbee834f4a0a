"""Attention by the flash kernel that JAX ships in Pallas, compiled by Triton for NVIDIA GPUs.

The kernel (jax.experimental.pallas.ops.gpu.attention; Dao 2023, https://arxiv.org/abs/2307.08691) knows causality and
segments: tokens see tokens of their own segment only, so padding is a segment of its own. Lengths are filled up to a
multiple of its block with padding, head sizes to a power of two by the kernel itself.

Shapes: B batch, T tokens, N heads, H head size.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.gpu.attention import BlockSizes, mha
from jaxtyping import Array, Bool, Float

_LARGE_BLOCK, _BLOCK, _GRADIENT_BLOCK = 128, 64, 32  # tokens
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

    Raises NotImplementedError where there are not as many keys as queries: the kernel has one set of segments for both.
    """
    tokens = q.shape[1]
    if tokens != k.shape[1]:
        raise NotImplementedError("attention to other tokens than the queries' own")
    block = _block(tokens, q.shape[3])
    more = -tokens % block
    segments = None
    if mask is not None or more:
        seen = jnp.ones(q.shape[:2], bool) if mask is None else jnp.broadcast_to(mask[:, 0, 0], q.shape[:2])
        segments = jnp.pad(seen, [(0, 0), (0, more)]).astype(jnp.int32)
    q, k, v = (jnp.pad(array, [(0, 0), (0, more), (0, 0), (0, 0)]) for array in (q, k, v))
    found: jax.Array = mha(
        q,
        k,
        v,
        segments,
        sm_scale=q.shape[-1] ** -0.5 if scale is None else scale,
        causal=causal,
        block_sizes=_blocks(block),
        interpret=interpret,
    )
    return found[:, :tokens]


def _block(tokens: int, head_size: int) -> int:
    """Tokens in a block: as many as fit, but for short texts the next power of two."""
    largest = _LARGE_BLOCK if head_size <= _LARGE_HEAD else _BLOCK
    return min(largest, max(_GRADIENT_BLOCK, 1 << (tokens - 1).bit_length()))


def _blocks(block: int) -> BlockSizes:
    gradients = dict.fromkeys(("block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq"), _GRADIENT_BLOCK)
    return BlockSizes(block_q=block, block_k=block, **gradients)
