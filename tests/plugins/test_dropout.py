"""Dropout: how many numbers are dropped, which, and what becomes of the others."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_runtime.dropout import dropped

KEY = jax.random.key(0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_the_rate_is_zero_and_the_others_are_scaled(rate):
    x = jnp.full((50, 401), 3.0)

    result = np.asarray(dropped(x, rate, KEY))

    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert (result == 0).mean() == pytest.approx(rate, abs=4 * deviation)
    np.testing.assert_allclose(result[result != 0], 3 / (1 - rate), rtol=2e-4)


@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_numbers_drop_independently_also_where_they_share_a_draw(width):
    result = np.asarray(dropped(jnp.ones((20_000, width)), 0.5, KEY)) == 0

    together = np.corrcoef(result, rowvar=False) if width > 1 else np.ones((1, 1))

    assert result.shape == (20_000, width)
    np.testing.assert_allclose(together, np.eye(width), atol=0.04)
    np.testing.assert_allclose(result.mean(axis=0), 0.5, atol=0.02)


def test_a_key_decides_and_another_decides_otherwise():
    x = jnp.ones((8, 8))

    first, again, other = (dropped(x, 0.5, key) for key in (KEY, KEY, jax.random.key(1)))

    assert bool((first == again).all())
    assert bool((first != other).any())


@pytest.mark.parametrize("arguments", [(0.0, KEY), (0.3, None), (0.0, None)])
def test_without_a_key_or_a_rate_nothing_changes(arguments):
    x = jnp.arange(6.0).reshape(2, 3)

    assert dropped(x, *arguments) is x


def test_dropping_everything_leaves_zeros_and_no_gradient():
    gradient = jax.grad(lambda x: dropped(x, 1.0, KEY).sum())(jnp.ones((2, 3)))

    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_the_gradient_passes_where_a_number_passed():
    x = jnp.ones((4, 33))

    result, gradient = dropped(x, 0.4, KEY), jax.grad(lambda x: dropped(x, 0.4, KEY).sum())(x)

    np.testing.assert_array_equal(gradient, result)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_type_stays(dtype):
    assert dropped(jnp.ones((2, 5), dtype), 0.1, KEY).dtype == dtype
