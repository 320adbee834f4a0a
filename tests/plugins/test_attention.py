"""Attention functions against the plain formula in numpy, in float64, head by head."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_runtime.attention import FEW, AttentionFunction, attention_weights, weighted_values, xla_attention

B, T, S, N, H = 2, 3, 5, 4, 6


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return [random.normal(size=(B, length, N, H)).astype(np.float32) for length in (T, S, S)]


def formula(q, k, v, mask, bias=0.0, scale=H**-0.5):
    """(result, weights)."""
    q, k, v = (array.astype(np.float64) for array in (q, k, v))
    weights = np.zeros((B, N, T, S))
    for b in range(B):
        for n in range(N):
            scores = q[b, :, n] @ k[b, :, n].T * scale + np.broadcast_to(bias, (B, N, T, S))[b, n]
            scores = np.where(np.broadcast_to(mask, (B, N, T, S))[b, n], scores, -1e30)
            powers = np.exp(scores - scores.max(-1, keepdims=True))
            weights[b, n] = powers / powers.sum(-1, keepdims=True)
    return np.einsum("bnts,bsnh->btnh", weights, v), weights


@pytest.mark.parametrize("shape", [(B, 1, 1, S), (1, 1, T, S), (B, N, T, S), (B, 1, T, S)])
def test_masked_keys_get_no_weight(arrays, shape):
    mask = np.random.default_rng(1).random(shape) < 0.6
    mask[..., 0] = True
    expected, weights = formula(*arrays, mask)

    result = xla_attention(*map(jnp.asarray, arrays), mask=jnp.asarray(mask))
    found = attention_weights(*map(jnp.asarray, arrays[:2]), mask=jnp.asarray(mask))

    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(found, weights, atol=1e-6)
    assert (np.asarray(found)[~np.broadcast_to(mask, found.shape)] == 0).all()


def test_many_queries_get_what_each_gets_alone():
    random = np.random.default_rng(3)
    queries = 2 * FEW
    q, k, v = (jnp.asarray(random.normal(size=(B, queries, N, H)), jnp.float32) for _ in range(3))
    mask = jnp.asarray(random.random((B, 1, queries, queries)) < 0.6)

    together = xla_attention(q, k, v, mask=mask)
    weights = attention_weights(q, k, mask=mask)

    for place in (0, 5, queries - 1):
        alone = slice(place, place + 1)
        part = {"mask": mask[:, :, alone]}
        np.testing.assert_allclose(together[:, alone], xla_attention(q[:, alone], k, v, **part), atol=1e-5)
        np.testing.assert_allclose(weights[:, :, alone], attention_weights(q[:, alone], k, **part), atol=1e-6)
    np.testing.assert_allclose(weighted_values(weights, v), together, atol=1e-5)


def test_bias_and_scale_enter_the_scores(arrays):
    bias = np.random.default_rng(2).normal(size=(1, N, T, S)).astype(np.float32)
    expected, _ = formula(*arrays, True, bias, scale=0.7)

    result = xla_attention(*map(jnp.asarray, arrays), bias=jnp.asarray(bias), scale=0.7)

    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_query_whose_keys_are_all_masked_gets_their_mean(arrays):
    result = xla_attention(*map(jnp.asarray, arrays), mask=jnp.zeros((1, 1, 1, S), bool))

    np.testing.assert_allclose(result, np.repeat(arrays[2].mean(1, keepdims=True), T, 1), atol=1e-6)


def test_scores_too_large_for_half_precision_stay_finite(arrays):
    q, k, v = (jnp.asarray(array * 500, jnp.float16) for array in arrays)
    expected, weights = formula(*(np.asarray(array) for array in (q, k, v)), True)

    result = xla_attention(q, k, v)

    assert np.abs(np.einsum("btnh,bsnh->bnts", *(np.float64(array) for array in (q, k)))).max() * H**-0.5 > 65504
    assert result.dtype == jnp.float16
    np.testing.assert_allclose(np.float64(result), expected, rtol=2e-2, atol=1)
    np.testing.assert_allclose(attention_weights(q, k), weights, atol=1e-2)


def test_dropout_sets_weights_to_zero_and_keeps_their_mean():
    weights = jnp.full((1, 1, 200, 200), 1 / 200)
    values = jnp.ones((1, 200, 1, 1))

    dropped = weighted_values(weights, values, dropout_rate=0.25, dropout_rng=jax.random.key(0))

    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert float(dropped.std()) == pytest.approx(np.sqrt(0.25 / 0.75 / 200), rel=0.2)
    np.testing.assert_allclose(weighted_values(weights, values, dropout_rate=0.25), 1, rtol=1e-6)


def test_dropout_of_everything_leaves_nothing_and_no_gradient(arrays):
    key = jax.random.key(0)

    value, gradient = jax.value_and_grad(
        lambda q: xla_attention(q, *map(jnp.asarray, arrays[1:]), dropout_rate=1.0, dropout_rng=key).sum()
    )(jnp.asarray(arrays[0]))

    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_the_function_has_the_signature_that_every_backend_has():
    assert isinstance(xla_attention, AttentionFunction)
