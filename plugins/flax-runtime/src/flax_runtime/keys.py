"""Keys: random keys for fresh parameters, one for each.

A plain counter in place of `nnx.Rngs`, whose counter is a traced value: with it, building an abstract model takes time
that grows with the square of the number of layers.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import nnx

Initializer = Callable[..., jax.Array]


class Keys:
    """What NNX layers ask for as `rngs` when they are made; an abstract model, whose values nobody sees, takes any."""

    def __init__(self, key: jax.Array, *, abstract: bool = False) -> None:
        self._key = key
        self._count = 0
        self._abstract = abstract

    def params(self) -> jax.Array:
        """The next key: the count folded into the first one, so that the order of layers decides."""
        if self._abstract:
            return self._key
        self._count += 1
        key: jax.Array = jax.random.fold_in(self._key, self._count)
        return key

    def initializer(self, initializer: Initializer) -> Initializer:
        """The initializer, or for an abstract model one of the same shapes that takes less time to trace."""
        zeros: Initializer = nnx.initializers.zeros_init()
        return zeros if self._abstract else initializer
