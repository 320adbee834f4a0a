"""What queries see, in words and as a mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_runtime.cache import KVCache
from flax_runtime.masks import causal_mask, last_seen, window_mask
from flax_runtime.seen import Seen, decoder_seen, encoder_seen

LEFT_PADDED = jnp.asarray([[0, 1, 1]])
FOR_EACH_QUERY = jnp.asarray([[[True, False, True, False], [True, True, False, True]]])


def cache(slots: int, length: int) -> KVCache:
    empty = KVCache.empty(layers=1, batch=1, max_length=slots, heads=1, head_size=2, dtype=jnp.float32)
    return empty.advanced([empty.layer(0)], length)


def test_a_decoder_sees_what_is_neither_padding_nor_behind_its_query():
    mask = decoder_seen(LEFT_PADDED, 3).lowered(3, 3)

    assert mask[0, 0].tolist() == [[False, False, False], [False, True, False], [False, True, True]]


def test_slots_of_a_cache_that_are_not_written_yet_are_hidden():
    seen = decoder_seen(None, 2, cache(slots=5, length=1))

    np.testing.assert_array_equal(seen.lowered(2, 5), causal_mask(2, 5, 1))


def test_behind_a_cache_that_is_known_to_be_empty_only_the_calls_own_tokens_count():
    mask = jnp.asarray([[0, 1, 1, 1, 1]])

    seen = decoder_seen(mask, 3, cache(slots=5, length=0).as_fresh())

    np.testing.assert_array_equal(seen.lowered(3, 3), decoder_seen(LEFT_PADDED, 3).lowered(3, 3))
    assert (seen.offset, seen.causal) == (0, True)


def test_a_mask_with_a_row_for_each_query_is_all_that_counts():
    seen = decoder_seen(FOR_EACH_QUERY, 2, cache(slots=4, length=2))

    assert not seen.causal
    np.testing.assert_array_equal(seen.lowered(2, 4), FOR_EACH_QUERY[:, None])


@pytest.mark.parametrize("length", [0, 3])
def test_a_window_counts_places_and_in_a_mask_for_each_query_what_is_seen(length):
    mask = jnp.asarray([[1, 0, 1, 1, 1, 1, 1]])
    rows = (causal_mask(4, 7, length) & (mask != 0)[:, None, None])[:, 0]

    places = decoder_seen(mask, 4, cache(slots=7, length=length), window=2).lowered(4, 7)
    counted = decoder_seen(rows, 4, cache(slots=7, length=length), window=2).lowered(4, 7)

    np.testing.assert_array_equal(places, rows[:, None] & window_mask(4, 7, 2, length))
    np.testing.assert_array_equal(counted, last_seen(rows[:, None], 2))


def test_a_window_as_wide_as_the_keys_is_none():
    assert decoder_seen(None, 4, window=4).window is None
    assert decoder_seen(None, 5, window=4).window == 4


def test_what_hides_nothing_is_no_mask():
    assert encoder_seen(None).lowered(3, 3) is None
    assert Seen(window=3).lowered(3, 3) is None


def test_the_offset_may_be_a_value_that_only_the_compiled_program_knows():
    jitted = jax.jit(lambda offset: Seen(causal=True, window=2, offset=offset).lowered(2, 5))

    np.testing.assert_array_equal(jitted(jnp.asarray(2)), causal_mask(2, 5, 2) & window_mask(2, 5, 2, 2))
