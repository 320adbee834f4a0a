"""What generation does to a cache: copies for several sequences of a prompt, and beams that change places."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from flax_runtime.cache import KVCache


def filled():
    shape = (2, 5, 3, 4)
    keys = tuple(jnp.asarray(np.random.default_rng(layer).normal(size=shape), jnp.float32) for layer in range(2))
    return KVCache(keys=keys, values=tuple(-array for array in keys), length=jnp.asarray(3, jnp.int32))


def test_copies_of_a_sequence_stand_side_by_side():
    cache = filled()

    several = cache.repeated(3)

    assert several.batch_size == 6
    assert int(several.length) == 3
    for layer in range(2):
        np.testing.assert_array_equal(several.keys[layer], np.repeat(cache.keys[layer], 3, axis=0))
        np.testing.assert_array_equal(several.values[layer][4], cache.values[layer][1])


def test_sequences_change_places_from_a_slot_on_and_before_it_stay():
    cache = filled()

    moved = jax.jit(lambda cache, rows: cache.reordered(rows, start=2))(cache, jnp.array([1, 1]))

    for layer in range(2):
        np.testing.assert_array_equal(moved.keys[layer][:, :2], cache.keys[layer][:, :2])
        np.testing.assert_array_equal(moved.keys[layer][0, 2:], cache.keys[layer][1, 2:])
        np.testing.assert_array_equal(moved.values[layer][1, 2:], cache.values[layer][1, 2:])
    assert int(moved.length) == 3
