"""Changes of scores that look at what is there already: the tokens so far, and how many there are.

Each is a function of scores [R, V] and what it needs to know. Padding is no history: a row that is padded on the left
gets what its text gets alone.

Shapes: R rows, S slots, V vocabulary, W words, L tokens of a word.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Scores = Float[Array, "R V"]
Tokens = Int[Array, "R S"]
Real = Bool[Array, "R S"]
Number = Int[Array, ""] | Float[Array, ""]
PerRow = Int[Array, " R"]
Flags = Bool[Array, " V"]


def repetition_penalty(scores: Scores, tokens: Tokens, real: Real, penalty: Number) -> Scores:
    """Scores of tokens that occurred divided by the penalty, negative ones multiplied.

    Keskar et al. 2019, https://arxiv.org/abs/1909.05858.
    """
    rows = jnp.arange(len(scores))[:, None]
    occurred = jnp.zeros(scores.shape, bool).at[rows, tokens].max(real, mode="drop")
    return jnp.where(occurred, jnp.where(scores < 0, scores * penalty, scores / penalty), scores)


def no_repeat_ngram(scores: Scores, tokens: Tokens, real: Real, length: Number, size: Number) -> Scores:
    """No token that would repeat a run of `size` tokens; `length` columns are written.

    A run begins at every column; it is repeated where its first `size` - 1 tokens are the last ones that are written.
    """
    slots = tokens.shape[1]
    columns = jnp.arange(slots)
    first = length - (size - 1)

    def matched(place: jax.Array, matches: jax.Array) -> jax.Array:
        column = jnp.maximum(first + place, 0)
        now = jax.lax.dynamic_index_in_dim(tokens, column, axis=1)
        is_real = jax.lax.dynamic_index_in_dim(real, column, axis=1)
        same: jax.Array = (jnp.roll(tokens, -place, axis=1) == now) & is_real & jnp.roll(real, -place, axis=1)
        return matches & same

    fits = (columns + size - 1 < length) & (first >= 0)
    matches = jnp.broadcast_to(fits[None], tokens.shape)
    matches = jax.lax.fori_loop(0, size - 1, matched, matches)
    following = jnp.roll(tokens, 1 - size, axis=1)
    rows = jnp.arange(len(scores))[:, None]
    is_real = jnp.roll(real, 1 - size, axis=1)
    banned = jnp.zeros(scores.shape, bool).at[rows, following].max(matches & is_real, mode="drop")
    return jnp.where(banned, -jnp.inf, scores)


class Words(NamedTuple):
    """Sequences of tokens, and what is added to the score of the last one behind the others."""

    before: Int[Array, "W L"]
    """All tokens but the last, at the end of their rows; -1 in front."""

    last: Int[Array, " W"]
    bias: Float[Array, " W"]


def word_bias(scores: Scores, tokens: Tokens, real: Real, length: Number, words: Words) -> Scores:
    """Scores plus the bias of each word that a token would complete."""
    before, last, bias = words
    columns = length - before.shape[1] + jnp.arange(before.shape[1])
    places = jnp.maximum(columns, 0)
    context = jnp.where((columns >= 0)[None] & real[:, places], tokens[:, places], -2)  # -2 is no token
    matches = jnp.all((before < 0)[None] | (context[:, None] == before[None]), axis=-1)
    return scores.at[:, last].add(jnp.where(matches, bias[None], 0))


def without(scores: Scores, tokens: Flags, when: Bool[Array, " R"]) -> Scores:
    """No score for the tokens, in rows where `when` is true."""
    return jnp.where(when[:, None] & tokens[None], -jnp.inf, scores)


def forced(scores: Scores, tokens: Flags, when: Bool[Array, " R"]) -> Scores:
    """Score 0 for the tokens and none for all others, in rows where `when` is true."""
    only = jnp.where(tokens, 0.0, -jnp.inf).astype(scores.dtype)
    return jnp.where(when[:, None], only[None], scores)


def decayed(scores: Scores, ends: Flags, new: Number, start: Number, factor: Number) -> Scores:
    """Scores of the ends raised by their size times `factor` ** (new tokens beyond `start`) - 1."""
    beyond = jnp.maximum(new - start, 0).astype(scores.dtype)
    raised = scores + jnp.abs(scores) * (factor**beyond - 1)
    return jnp.where(ends[None] & jnp.isfinite(scores), raised, scores)
