"""Greedy decoding and sampling: one sequence a row.

Shapes: R rows, S slots, N most new tokens, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from automodels.errors import InputError
from automodels.generation.stop_texts import HIT
from flax_runtime.generation.batch import Call, Texts
from flax_runtime.generation.options import Numbers
from flax_runtime.generation.scoring import Past, as_called, changed

Stop = Int[Array, "*R"] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What changes from token to token."""

    tokens: Int[Array, "R S"]
    new: Int[Array, ""]
    """New tokens so far."""

    lengths: Int[Array, " R"]
    """New tokens of each row, its end included."""

    finished: Bool[Array, " R"]
    stop: Int[Array, " R"] | None
    """How much of a text that ends a sequence is there."""

    inputs: dict[str, Any]
    """The model's other arguments, the cache among them."""

    scores: Float[Array, "N R V"] | None
    logits: Float[Array, "N R V"] | None


def started(
    tokens: Int[Array, "R S"], inputs: dict[str, Any], logits: Float[Array, "R V"], call: Call, *, most: int
) -> State:
    """The state before the first new token, whose logits show shapes and types; there will be `most` at most."""
    rows = len(tokens)
    texts, _, plan = call
    return State(
        tokens=tokens,
        new=jnp.zeros((), jnp.int32),
        lengths=jnp.zeros(rows, jnp.int32),
        finished=jnp.zeros(rows, bool),
        stop=texts.stop,
        inputs=inputs,
        scores=record(logits, most) if plan.returns_scores else None,
        logits=record(logits, most) if plan.returns_logits else None,
    )


def advanced(state: State, logits: Float[Array, "R V"], call: Call) -> State:
    """The state with one more token in every row, padding in those that are finished."""
    texts, numbers, plan = call
    past = past_of(state.tokens, state.new, texts)
    scores = changed(logits, past, numbers, plan)
    # With Gumbel noise the highest score is a sample: Maddison et al. 2014, https://arxiv.org/abs/1411.0030.
    drawn = scores if texts.keys is None else scores + gumbel(texts.keys, state.new, scores)
    chosen = jnp.argmax(drawn, axis=-1)
    token = jnp.where(state.finished, numbers.pad, chosen.astype(state.tokens.dtype))
    tokens = jax.lax.dynamic_update_slice_in_dim(state.tokens, token[:, None], past.length, axis=1)
    new = state.new + 1
    ends = numbers.ends[chosen] | (new >= texts.longest) | (new >= numbers.halt)
    stop, stops = stopped(state.stop, chosen, numbers)
    ends |= stops
    for criterion in plan.criteria:
        ends |= judged(criterion, past_of(tokens, new, texts), scores)
    return State(
        tokens=tokens,
        new=new,
        lengths=jnp.where(state.finished, state.lengths, new),
        finished=state.finished | ends,
        stop=stop,
        inputs=state.inputs,
        scores=recorded(state.scores, scores, state.new),
        logits=recorded(state.logits, logits, state.new),
    )


def is_over(state: State) -> Bool[Array, ""]:
    """Whether no row goes on."""
    return jnp.all(state.finished)


def last_tokens(state: State, texts: Texts) -> Int[Array, "R 1"]:
    """The tokens that the model has not seen yet."""
    column = texts.columns + state.new - 1
    tokens: jax.Array = jax.lax.dynamic_index_in_dim(state.tokens, column, axis=1)
    return tokens


def past_of(tokens: Int[Array, "R S"], new: Int[Array, ""], texts: Texts) -> Past:
    """What functions that change scores are told."""
    length = texts.columns + new
    return Past(
        tokens=tokens,
        real=texts.real(length),
        length=length,
        new=new,
        shift=texts.shift,
        prompt=texts.prompt,
        shortest=texts.shortest,
        longest=texts.longest,
    )


def judged(criterion: Any, past: Past, scores: Float[Array, "R V"]) -> Bool[Array, " R"]:
    """What a criterion of the caller's says, one answer for all rows or one for each."""
    ids, length = as_called(past)
    answer = jnp.asarray(criterion(ids, scores, cur_len=length), bool)
    if answer.shape not in ((), past.prompt.shape):
        raise InputError(
            f"A stopping criterion returned the shape {list(answer.shape)}; it needs [] or {list(past.prompt.shape)}."
        )
    return jnp.broadcast_to(answer, past.prompt.shape)


def stopped(stop: Stop, token: Int[Array, "*R"], numbers: Numbers) -> tuple[Stop, Bool[Array, "*R"]]:
    """The search for texts that end a sequence after one more token, and whether one was found."""
    if stop is None or numbers.stops is None:
        return None, jnp.zeros(token.shape, bool)
    stop = numbers.stops[stop, token]
    return stop, stop == HIT


def record(values: jax.Array, steps: int) -> jax.Array:
    """Room for the values of so many steps."""
    return jnp.zeros((steps, *values.shape), values.dtype)


def recorded(record: jax.Array | None, now: jax.Array, step: jax.Array) -> jax.Array | None:
    """A record of all steps with this step's values, where one is kept."""
    return None if record is None else jax.lax.dynamic_update_index_in_dim(record, now, step, axis=0)


def gumbel(keys: Key[Array, " R"], new: jax.Array, like: Float[Array, "R W"]) -> Float[Array, "R W"]:
    """Noise of the shape and type of an array, for a step.

    Each row has a key of its own, so that its noise does not depend on other rows, on padding, or on the slots.
    """

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(key, new), like.shape[1:], like.dtype)

    noise: jax.Array = jax.vmap(draw)(keys)
    return noise
