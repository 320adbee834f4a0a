"""Products of states and a layer's matrix.

Shapes: D inputs, E outputs.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PARTS = 8  # measured; from 4 to 24 are much the same


def product(x: Float[Array, "*B D"], matrix: Float[Array, "D E"], *arguments: Any, **options: Any) -> jax.Array:
    """`jax.lax.dot_general` for a layer: `nnx.Linear(…, dot_general=product)`.

    The time of a single state, a step of decoding, is that of reading the matrix. It is read in PARTS blocks of whole
    rows, whose results are added: XLA:CPU gives each thread some of the columns otherwise, and memory is slower in such
    short runs by about a fifth.
    """
    inputs, outputs = matrix.shape
    is_half = x.dtype.itemsize < 4  # sums of its sums would lose digits
    if math.prod(x.shape[:-1]) > 1 or inputs % PARTS or is_half:
        whole: jax.Array = jax.lax.dot_general(x, matrix, *arguments, **options)
        return whole
    blocks = matrix.reshape(PARTS, inputs // PARTS, outputs)
    found: jax.Array = jnp.einsum("pi,pio->po", x.reshape(PARTS, -1), blocks).sum(axis=0)
    return found.reshape(*x.shape[:-1], outputs)
