"""Masks, against the sentences that define them, place by place."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_runtime.masks import causal_mask, last_seen, padding_mask, window_mask


def test_padding_is_hidden_from_every_query():
    mask = padding_mask(jnp.asarray([[1, 1, 0], [7, 0, 0]]))

    assert mask.shape == (2, 1, 1, 3)
    assert mask.tolist() == [[[[True, True, False]]], [[[True, False, False]]]]


@pytest.mark.parametrize(("queries", "keys", "offset"), [(4, 4, 0), (1, 6, 3), (3, 7, 2), (1, 1, 0)])
def test_a_query_sees_its_own_place_and_those_before_it(queries, keys, offset):
    mask = causal_mask(queries, keys, offset)

    assert mask.shape == (1, 1, queries, keys)
    for query in range(queries):
        for key in range(keys):
            assert bool(mask[0, 0, query, key]) == (key <= offset + query)


def test_the_offset_may_be_a_value_that_only_the_compiled_program_knows():
    jitted = jax.jit(lambda offset: causal_mask(2, 5, offset))

    np.testing.assert_array_equal(jitted(jnp.asarray(2)), causal_mask(2, 5, 2))


@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_the_last_keys_that_are_seen_are_those_of_the_window(window):
    attention_mask = jnp.asarray([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
    seen = causal_mask(7, 7) & padding_mask(attention_mask)

    np.testing.assert_array_equal(last_seen(seen, window), seen & window_mask(7, 7, window))


def test_keys_that_are_not_seen_do_not_fill_a_window():
    seen = jnp.asarray([[[[True, True, False, True, False, True, False]]]])

    assert last_seen(seen, 3)[0, 0, 0].tolist() == [False, True, False, True, False, True, False]


@pytest.mark.parametrize(("queries", "keys", "offset"), [(5, 5, 0), (1, 6, 3), (3, 7, 2)])
@pytest.mark.parametrize("window", [1, 2, 5, 9])
def test_a_window_hides_what_is_further_back_and_nothing_else(queries, keys, offset, window):
    mask = window_mask(queries, keys, window, offset)

    assert mask.shape == (1, 1, queries, keys)
    for query in range(queries):
        for key in range(keys):
            assert bool(mask[0, 0, query, key]) == (offset + query - key < window)
