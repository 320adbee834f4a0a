"""The changes of scores that options ask for: which are on, and in which order they come (transformers').

Shapes: R rows, S slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from automodels.errors import InputError
from automodels.generation.changes import BEFORE_SAMPLING
from flax_runtime.generation import processors, warpers

if TYPE_CHECKING:
    from flax_runtime.generation.options import Numbers, Plan

Scores = Float[Array, "R V"]


class Past(NamedTuple):
    """What was before the token that is chosen."""

    tokens: Int[Array, "R S"]
    real: Bool[Array, "R S"]
    """Which of the tokens are written and no padding."""

    length: Int[Array, ""]
    """Columns that are written."""

    new: Int[Array, ""]
    """New tokens among them."""

    shift: Int[Array, ""]
    """Columns of padding that the caller's prompt did not have."""

    prompt: Int[Array, " R"]
    """Tokens of each prompt, padding not counted."""

    shortest: Int[Array, " R"]
    """New tokens before which a row does not end."""

    longest: Int[Array, " R"]
    """New tokens at which a row ends."""


Change = Callable[[jax.Array, Past, "Numbers", "Plan"], jax.Array]


def changed(scores: Scores, past: Past, numbers: Numbers, plan: Plan) -> Scores:
    """Scores after all changes; those of the caller come before those of sampling."""
    for name in plan.changes:
        if name in BEFORE_SAMPLING:
            scores = _CHANGES[name](scores, past, numbers, plan)
    for processor in plan.processors:
        ids, length = as_called(past)
        given = jnp.asarray(processor(ids, scores, cur_len=length), scores.dtype)
        if given.shape != scores.shape:
            raise InputError(
                f"A logits processor returned the shape {list(given.shape)}; it was given {list(scores.shape)}."
            )
        scores = given
    for name in plan.changes:
        if name not in BEFORE_SAMPLING:
            scores = _CHANGES[name](scores, past, numbers, plan)
    return scores


def as_called(past: Past) -> tuple[Int[Array, "R S"], Int[Array, ""]]:
    """Tokens without the columns that the caller's prompt did not have, and how many columns are written then."""
    return jnp.roll(past.tokens, -past.shift, axis=1), past.length - past.shift


def _sequence_bias(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    assert numbers.biased is not None
    return processors.word_bias(scores, past.tokens, past.real, past.length, numbers.biased)


def _repetition_penalty(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return processors.repetition_penalty(scores, past.tokens, past.real, numbers.repetition_penalty)


def _no_repeat_ngram(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return processors.no_repeat_ngram(scores, past.tokens, past.real, past.length, numbers.no_repeat_ngram_size)


def _bad_words(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    assert numbers.banned is not None
    return processors.word_bias(scores, past.tokens, past.real, past.length, numbers.banned)


def _min_length(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return processors.without(scores, numbers.ends, past.new < past.shortest)


def _forced_bos(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    token = jnp.arange(scores.shape[-1]) == numbers.forced_bos
    return processors.forced(scores, token, past.prompt + past.new == 1)


def _forced_eos(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    assert numbers.forced_ends is not None
    return processors.forced(scores, numbers.forced_ends, past.new == past.longest - 1)


def _decay(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return processors.decayed(scores, numbers.ends, past.new, numbers.decay_start, numbers.decay_factor)


def _suppress(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    assert numbers.suppressed is not None
    return processors.without(scores, numbers.suppressed, jnp.ones(past.prompt.shape, bool))


def _begin_suppress(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    assert numbers.begin_suppressed is not None
    # Behind a forced first token, the first one that is free is the second.
    begin = (past.prompt == 1) & ("forced_bos_token_id" in plan.changes)
    return processors.without(scores, numbers.begin_suppressed, past.new == begin)


def _temperature(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return scores / numbers.temperature


def _top_k(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return warpers.top_k(scores, numbers.top_k, bound=plan.top_k)


def _top_p(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    highest = jax.lax.top_k(scores, plan.top_k)[0] if plan.top_k else None  # all others are -inf already
    return warpers.top_p(scores, numbers.top_p, kept=plan.kept, highest=highest)


def _min_p(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return warpers.min_p(scores, numbers.min_p, kept=plan.kept)


def _typical_p(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return warpers.typical_p(scores, numbers.typical_p, kept=plan.kept)


def _epsilon(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return warpers.epsilon_cutoff(scores, numbers.epsilon_cutoff, kept=plan.kept)


def _eta(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return warpers.eta_cutoff(scores, numbers.eta_cutoff, kept=plan.kept)


def _normalized(scores: jax.Array, past: Past, numbers: Numbers, plan: Plan) -> jax.Array:
    return jax.nn.log_softmax(scores, axis=-1)


# fmt: off
_CHANGES: Mapping[str, Change] = {
    "sequence_bias":                    _sequence_bias,
    "repetition_penalty":               _repetition_penalty,
    "no_repeat_ngram_size":             _no_repeat_ngram,
    "bad_words_ids":                    _bad_words,
    "min_length":                       _min_length,
    "forced_bos_token_id":              _forced_bos,
    "forced_eos_token_id":              _forced_eos,
    "exponential_decay_length_penalty": _decay,
    "suppress_tokens":                  _suppress,
    "begin_suppress_tokens":            _begin_suppress,
    "temperature":                      _temperature,
    "top_k":                            _top_k,
    "top_p":                            _top_p,
    "min_p":                            _min_p,
    "typical_p":                        _typical_p,
    "epsilon_cutoff":                   _epsilon,
    "eta_cutoff":                       _eta,
    "renormalize_logits":               _normalized,
}
# fmt: on
