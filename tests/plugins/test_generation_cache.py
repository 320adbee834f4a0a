"""What generation does to a cache: copies for several sequences of a prompt."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from flax_runtime.cache import KVCache


def filled():
    cache = KVCache.empty(layers=2, batch=2, max_length=5, heads=3, head_size=4, dtype=jnp.float32)
    draws = (np.random.default_rng(layer).normal(size=(2, 3, 3, 4)) for layer in range(2))
    new = [jnp.asarray(draw, jnp.float32) for draw in draws]
    return cache.advanced([cache.layer(layer).extended(new[layer], -new[layer]) for layer in range(2)], 3)


def test_copies_of_a_sequence_stand_side_by_side():
    cache = filled()

    several = cache.repeated(3)

    assert several.batch_size == 6
    assert int(several.length) == 3
    for layer in range(2):
        np.testing.assert_array_equal(several.keys[layer], np.repeat(cache.keys[layer], 3, axis=0))
        np.testing.assert_array_equal(several.values[layer][4], cache.values[layer][1])
