"""Changes of scores for sampling: which tokens it is among, and how even their probabilities are.

Each is a function of scores [R, V] alone; tokens that are left out get -inf. `kept` tokens are left at least.

Shapes: R rows, V vocabulary, C the highest scores of a row.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Scores = Float[Array, "R V"]
Real = Float[Array, ""]


def top_k(scores: Scores, k: Int[Array, ""], *, bound: int) -> Scores:
    """Among the `k` highest scores, and those that equal the last of them; `bound` is at least `k`."""
    highest = jax.lax.top_k(scores, bound)[0]
    least = jax.lax.dynamic_index_in_dim(highest, k - 1, axis=1)
    return jnp.where(scores < least, -jnp.inf, scores)


def top_p(scores: Scores, p: Real, *, kept: int, highest: Float[Array, "R C"] | None = None) -> Scores:
    """Among the fewest tokens whose probability together reaches `p`, the most probable first.

    `highest` are the highest scores in falling order, where the others are known to be left out already. Holtzman et
    al. 2019, https://arxiv.org/abs/1904.09751.
    """
    highest = -jnp.sort(-scores, axis=-1) if highest is None else highest
    probabilities = jax.nn.softmax(highest, axis=-1)
    above = jnp.cumsum(probabilities, axis=-1) - probabilities
    count = jnp.maximum(jnp.sum(above < p, axis=-1, keepdims=True), kept)
    least = jnp.take_along_axis(highest, count - 1, axis=-1)
    return jnp.where(scores < least, -jnp.inf, scores)


def min_p(scores: Scores, share: Real, *, kept: int) -> Scores:
    """Among tokens with at least that share of the most probable one's probability.

    Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.
    """
    probabilities = jax.nn.softmax(scores, axis=-1)
    return _without(scores, probabilities < share * probabilities.max(axis=-1, keepdims=True), kept=kept)


def typical_p(scores: Scores, mass: Real, *, kept: int) -> Scores:
    """Among the tokens of about the expected information that have this probability together.

    Meister et al. 2022, https://arxiv.org/abs/2202.00666.
    """
    information = -jax.nn.log_softmax(scores, axis=-1)
    probabilities = jnp.exp(-information)
    expected = jnp.sum(jnp.where(probabilities > 0, information * probabilities, 0), axis=-1, keepdims=True)
    distance = jnp.abs(information - expected)
    nearest, masses = jax.lax.sort((distance, probabilities), num_keys=1)
    count = jnp.sum(jnp.cumsum(masses, axis=-1) < mass, axis=-1, keepdims=True)
    last = jnp.clip(count, kept - 1, scores.shape[-1] - 1)
    return jnp.where(distance > jnp.take_along_axis(nearest, last, axis=-1), -jnp.inf, scores)


def epsilon_cutoff(scores: Scores, epsilon: Real, *, kept: int) -> Scores:
    """Among tokens of at least this probability (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""
    return _without(scores, jax.nn.softmax(scores, axis=-1) < epsilon, kept=kept)


def eta_cutoff(scores: Scores, epsilon: Real, *, kept: int) -> Scores:
    """Among tokens of at least the probability min(ε, √ε · exp(-entropy)) (Hewitt et al. 2022)."""
    logarithms = jax.nn.log_softmax(scores, axis=-1)
    probabilities = jnp.exp(logarithms)
    entropy = -jnp.sum(jnp.where(probabilities > 0, logarithms * probabilities, 0), axis=-1, keepdims=True)
    eta = jnp.minimum(epsilon, jnp.sqrt(epsilon) * jnp.exp(-entropy))
    return _without(scores, probabilities < eta, kept=kept)


def _without(scores: Scores, improbable: Bool[Array, "R V"], *, kept: int) -> Scores:
    least = jax.lax.top_k(scores, kept)[0][:, -1:]
    return jnp.where(improbable & (scores < least), -jnp.inf, scores)
