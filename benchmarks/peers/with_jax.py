"""What both workers with JAX measure alike: calls, training steps, and the matrix products alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from protocol import seconds_of

LEARNING_RATE = 2e-5


def blocked(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds until the result is there."""
    return seconds_of(lambda: jax.block_until_ready(function(*arguments)))


class Training:
    """Forward, backward and adamw under one jit that donates parameters and the optimizer's state."""

    def __init__(self, logits: Callable[..., jax.Array], params: Any) -> None:
        """`logits(params, ids, mask, key)` has dropout on."""
        optimizer = optax.adamw(LEARNING_RATE)
        # Copies: the step takes its arguments' memory for its results.
        self.params = jax.tree.map(jnp.copy, params)
        self.state = optimizer.init(self.params)
        self.key = jax.random.key(0)

        def loss(params: Any, ids: Any, mask: Any, labels: Any, key: Any) -> jax.Array:
            found = logits(params, ids, mask, key)
            return optax.softmax_cross_entropy_with_integer_labels(found, labels).mean()

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(params: Any, state: Any, ids: Any, mask: Any, labels: Any, key: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(params, ids, mask, labels, key)
            updates, state = optimizer.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, value

        self.step = step

    def seconds(self, ids: np.ndarray, mask: np.ndarray) -> float:
        self.key, key = jax.random.split(self.key)
        labels = np.arange(len(ids), dtype=np.int32) % 2

        def run() -> None:
            self.params, self.state, value = self.step(self.params, self.state, ids, mask, labels, key)
            jax.block_until_ready((self.params, value))

        return seconds_of(run)


class Products:
    """The matrix products of a BERT's forward and nothing else, each layer with matrices of its own."""

    def __init__(self, layers: int, hidden: int, wide: int, heads: int) -> None:
        self.heads = heads
        shapes = [(hidden, hidden)] * 4 + [(hidden, wide), (wide, hidden)]
        self.layers = [
            [jax.random.normal(jax.random.key(number), shape) * shape[0] ** -0.5 for number, shape in enumerate(shapes)]
            for _ in range(layers)
        ]
        self.run = jax.jit(self._all)

    def _all(self, x: jax.Array, layers: Any) -> list[jax.Array]:
        batch, tokens, hidden = x.shape
        results: list[jax.Array] = []
        for query, key, value, output, widen, narrow in layers:
            q, k, v = (jnp.reshape(x @ w, (batch, tokens, self.heads, -1)) for w in (query, key, value))
            scores = jnp.einsum("btnh,bsnh->bnts", q, k)
            attended = jnp.einsum("bnts,bsnh->btnh", scores, v).reshape(batch, tokens, hidden)
            results.append(attended @ output @ widen @ narrow)
            # Every layer gets the same input, so that numbers stay small, but after the layer before it.
            x, _ = jax.lax.optimization_barrier((x, results[-1]))
        return results

    def seconds(self, batch: int, tokens: int) -> float:
        hidden = self.layers[0][0].shape[0]
        return blocked(self.run, jax.random.normal(jax.random.key(0), (batch, tokens, hidden)), self.layers)
