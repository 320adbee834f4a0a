"""KVCache: what it holds, and when a model may go on with it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from automodels.errors import InputError
from flax_runtime.cache import KVCache

SHAPE = dict(layers=2, heads=3, head_size=4)


@pytest.fixture
def cache():
    return KVCache.empty(batch=2, max_length=5, dtype=jnp.float32, **SHAPE)


def filled(cache, tokens, value):
    new = jnp.full((2, tokens, 3, 4), value)
    return cache.advanced([cache.layer(number).extended(new, -new) for number in range(2)], tokens)


def test_an_empty_cache_has_slots_and_no_tokens(cache):
    assert (cache.batch_size, cache.max_length, int(cache.length)) == (2, 5, 0)
    assert [array.shape for array in cache.keys + cache.values] == [(2, 5, 3, 4)] * 4
    assert not any(array.any() for array in cache.keys + cache.values)


def test_tokens_are_written_behind_those_that_are_there_and_the_old_cache_stays(cache):
    first = filled(cache, 2, 1.0)

    second = filled(first, 1, 7.0)

    assert (int(cache.length), int(first.length), int(second.length)) == (0, 2, 3)
    assert second.keys[1][0, :, 0, 0].tolist() == [1, 1, 7, 0, 0]
    assert second.values[0][1, :, 2, 3].tolist() == [-1, -1, -7, 0, 0]
    assert first.keys[1][0, :, 0, 0].tolist() == [1, 1, 0, 0, 0]
    assert not cache.keys[0].any()


def test_a_cache_is_a_jax_tree_and_can_be_donated(cache):
    step = jax.jit(lambda cache: filled(cache, 1, 3.0), donate_argnums=0)

    advanced = step(step(cache))

    assert int(advanced.length) == 2
    assert advanced.keys[0][0, :, 0, 0].tolist() == [3, 3, 0, 0, 0]
    assert cache.stored_keys[0].is_deleted()
    assert len(jax.tree.leaves(advanced)) == 5


def test_what_is_written_takes_the_type_of_the_cache():
    half = KVCache.empty(batch=2, max_length=5, dtype=jnp.bfloat16, **SHAPE)

    assert {array.dtype for array in filled(half, 1, 1.0).keys} == {jnp.dtype("bfloat16")}


def test_a_cache_says_whether_there_is_room(cache):
    held = filled(cache, 3, 1.0)

    assert bool(held.has_room(2))
    assert not held.has_room(3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": 3}, r"2 layers of shape \[2, 5, 3, 4\]; the call needs 3 of \[2, 5, 3, 4\]"),
        ({"batch": 1}, r"needs 2 of \[1, 5, 3, 4\]"),
        ({"heads": 4}, r"needs 2 of \[2, 5, 4, 4\]"),
        ({"head_size": 3}, r"needs 2 of \[2, 5, 3, 3\]"),
        ({"tokens": 4}, "holds 2 of 5 tokens; 4 more do not fit"),
    ],
)
def test_a_cache_of_another_model_another_batch_or_without_room_is_refused(cache, changed, message):
    held = filled(cache, 2, 1.0)
    fitting = {**SHAPE, "batch": 2, "tokens": 3}
    held.check(**fitting)

    with pytest.raises(InputError, match=message):
        held.check(**{**fitting, **changed})


def test_inside_jit_the_number_of_tokens_is_not_known_and_not_checked(cache):
    def checked(cache):
        cache.check(batch=2, tokens=5, **SHAPE)
        return cache.length

    assert int(jax.jit(checked)(filled(cache, 2, 1.0))) == 2
