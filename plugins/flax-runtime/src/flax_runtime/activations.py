"""Activations by the names that configs use; gelu's exact and approximate forms are always spelled out."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

Activation = Callable[[jax.Array], jax.Array]


def gelu(x: jax.Array) -> jax.Array:
    """The exact gelu: x · (1 + erf(x / √2)) / 2 (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415).

    As PyTorch computes it; jax.nn.gelu's erfc keeps digits of results near zero and takes longer. Half types, which
    would lose too many of these, are computed in float32.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    half = wide * 0.5
    return (half + half * jax.lax.erf(wide * 0.5**0.5)).astype(x.dtype)


def quick_gelu(x: jax.Array) -> jax.Array:
    """A gelu by the sigmoid: x · sigmoid(1.702 x) (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415)."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}
"""Name in configs → function."""
