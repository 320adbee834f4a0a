"""Keys: random keys for fresh parameters, one for each, and both spellings of a key that callers may use.

A plain counter in place of `nnx.Rngs`, whose counter is a traced value: with it, building an abstract model takes time
that grows with the square of the number of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from automodels.errors import InputError

Initializer = Callable[..., jax.Array]


def as_key(given: Any, what: str) -> jax.Array:
    """The key, whether it was made by `jax.random.key` or, in the old style, by `jax.random.PRNGKey`.

    Raises InputError for anything else.
    """
    if isinstance(given, jax.Array) and jnp.issubdtype(given.dtype, jax.dtypes.prng_key) and given.ndim == 0:
        return given
    if isinstance(given, jax.Array | np.ndarray) and given.dtype == np.uint32 and given.ndim == 1:
        try:
            key: jax.Array = jax.random.wrap_key_data(jnp.asarray(given))
        except (TypeError, ValueError):  # of a length that no generator has
            pass
        else:
            return key
    shape, kind = getattr(given, "shape", None), getattr(given, "dtype", None)
    said = repr(given)[:40] if shape is None else f"an array {list(shape)} of {kind}"
    raise InputError(f"{what} is {said}, not a random key.", hints=["Make one with jax.random.key(seed)."])


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
