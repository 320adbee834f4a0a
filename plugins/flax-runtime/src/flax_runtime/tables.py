"""Tables of embeddings: rows looked up by id, and scores of every row.

Shapes: B batch, T tokens, D width, V rows.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

FEW = 32  # states: so many are a step of decoding, whose time is that of reading the table


def rows(table: nnx.Embed, ids: Int[Array, "#B T"]) -> Float[Array, "#B T D"]:
    """Rows of a table; NaN for an id outside it, which nobody can refuse any more inside jit."""
    found = table.embedding[...].at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return found.astype(table.dtype)


def scores(table: nnx.Embed, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
    """The product of every state with every row: the scores of a head that is tied to the table."""
    if x.shape[0] * x.shape[1] > FEW:
        found: jax.Array = table.attend(x)
        return found
    # The table on the left is read once, as it lies; on the right, XLA:CPU packs it anew for more states than one.
    table_first = jnp.einsum("vd,btd->vbt", table.embedding[...].astype(table.dtype), x.astype(table.dtype))
    return jnp.moveaxis(table_first, 0, -1)
