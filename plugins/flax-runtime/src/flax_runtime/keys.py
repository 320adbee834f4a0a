"""Keys: random keys for fresh parameters, one for each.

A plain counter in place of `nnx.Rngs`, whose counter is a traced value: with it, building an abstract model takes time
that grows with the square of the number of layers.
"""

from __future__ import annotations

import jax


class Keys:
    """What NNX layers ask for as `rngs` when they are made."""

    def __init__(self, key: jax.Array) -> None:
        self._key = key
        self._count = 0

    def params(self) -> jax.Array:
        """The next key: the count folded into the first one, so that the order of layers decides."""
        self._count += 1
        key: jax.Array = jax.random.fold_in(self._key, self._count)
        return key
