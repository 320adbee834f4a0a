"""The product of states and a layer's matrix, one state and many."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flax_runtime.products import PARTS, product


@pytest.mark.parametrize("inputs", [3 * PARTS, 3 * PARTS + 1])
@pytest.mark.parametrize("leading", [(1,), (1, 1), (2, 1), (2, 3), ()])
def test_one_state_gets_what_it_gets_among_others(leading, inputs):
    random = np.random.default_rng(0)
    x, matrix = random.normal(size=(*leading, inputs)), random.normal(size=(inputs, 5))
    dimensions = (((len(leading),), (0,)), ((), ()))

    found = product(jnp.asarray(x, jnp.float32), jnp.asarray(matrix, jnp.float32), dimensions)

    assert found.shape == (*leading, 5)
    np.testing.assert_allclose(found, x @ matrix, atol=1e-5)


def test_the_sum_of_half_types_is_not_cut_into_sums():
    x, matrix = jnp.full((1, 4 * PARTS), 0.3, jnp.bfloat16), jnp.ones((4 * PARTS, 2), jnp.bfloat16)
    dimensions = (((1,), (0,)), ((), ()))

    np.testing.assert_array_equal(product(x, matrix, dimensions), jax.lax.dot_general(x, matrix, dimensions))
    assert product(x, matrix, dimensions).dtype == jnp.bfloat16


def test_a_layer_takes_it_and_has_the_same_gradient():
    layer = nnx.Linear(2 * PARTS, 3, rngs=nnx.Rngs(0))
    other = nnx.Linear(2 * PARTS, 3, rngs=nnx.Rngs(0), dot_general=product)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 2 * PARTS)), jnp.float32)

    def loss(layer, x):
        return (layer(x) ** 2).sum()

    np.testing.assert_allclose(other(x), layer(x), atol=1e-5)
    np.testing.assert_allclose(
        nnx.grad(loss)(other, x)["kernel"][...], nnx.grad(loss)(layer, x)["kernel"][...], atol=1e-4
    )
