"""Attention and execution in Flax."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from flax_runtime.attention import weighted_values

calls = []


def attention(q, k, v, *, mask=None, scale=None, dropout_rate=0.0, dropout_rng=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = jnp.einsum("btnh,bsnh->bnts", q, k) * scale
    if mask is not None:
        scores = jnp.where(mask, scores, -1e30)
    weights = jax.nn.softmax(scores, axis=-1)
    return weighted_values(weights, v, dropout_rate=dropout_rate, dropout_rng=dropout_rng)


def counted(function, *, static_argnames, donate_argnums=()):
    compiled = jax.jit(function, static_argnames=static_argnames, donate_argnums=donate_argnums)

    @functools.wraps(function)
    def called(*arguments, **options):
        calls.append(getattr(function, "__name__", "?"))
        return compiled(*arguments, **options)

    return called
