"""Beam search and beam sampling: several sequences for each prompt, of which the best are followed.

What is chosen, and when it ends, is as in transformers 5. A row of the batch that has ended stays as it is, so that it
gets what it would get alone.

The beams of a prompt are tokens side by side of one text: each step writes K tokens into the text's cache, and a mask
says which of all tokens there are a beam's past. When beams change places, the mask does, and the cache stays.

Shapes: B prompts, K beams, R = B · K rows, S slots, N most new tokens, V vocabulary, C candidates (at least 2 · K, so
that K of them are no ends).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flax_runtime.generation.batch import Call, Texts
from flax_runtime.generation.scoring import changed
from flax_runtime.generation.single import gumbel, judged, past_of, record, recorded, stopped

OUT = -1.0e9  # the score of what must not be chosen; finite, so that such candidates still have an order


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequences:
    """K sequences for each prompt, the best first."""

    tokens: Int[Array, "B K S"]
    scores: Float[Array, "B K"]
    origins: Int[Array, "B K N"]
    """For each new token the row that it was chosen in; -1 where there is none."""

    stop: Int[Array, "B K"] | None
    """How much of a text that ends a sequence is there."""

    def taken(self, places: Int[Array, "B J"]) -> Sequences:
        """Those at the places."""
        found: Sequences = jax.tree.map(lambda array: _taken(array, places), self)
        return found

    def beside(self, other: Sequences) -> Sequences:
        """These, then the other ones."""
        both: Sequences = jax.tree.map(lambda mine, its: jnp.concatenate([mine, its], axis=1), self, other)
        return both


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What changes from token to token."""

    running: Sequences
    """Scores are sums of log-probabilities."""

    ended: Sequences
    """Scores are divided by a power of the length."""

    is_ended: Bool[Array, "B K"]
    """Which of `ended` are there yet."""

    improves: Bool[Array, " B"]
    """Whether running ones may still beat ended ones."""

    over: Bool[Array, " B"]
    new: Int[Array, ""]
    inputs: dict[str, Any]
    scores: Float[Array, "N R V"] | None
    logits: Float[Array, "N R V"] | None


def started(
    tokens: Int[Array, "R S"], inputs: dict[str, Any], logits: Float[Array, "R V"], call: Call, *, most: int
) -> State:
    """The state before the first new token: all beams are the prompt, and only the first one counts.

    There will be `most` new tokens at most.
    """
    rows, slots = tokens.shape
    texts, _, plan = call
    prompts = rows // plan.beams
    first = jnp.where(jnp.arange(plan.beams) == 0, 0.0, OUT).astype(logits.dtype)
    running = Sequences(
        tokens=tokens.reshape(prompts, plan.beams, slots),
        scores=jnp.broadcast_to(first[None], (prompts, plan.beams)),
        origins=jnp.full((prompts, plan.beams, most), -1, jnp.int32),
        stop=None if texts.stop is None else texts.stop.reshape(prompts, plan.beams),
    )
    return State(
        running=running,
        ended=dataclasses.replace(running, scores=jnp.full((prompts, plan.beams), OUT, logits.dtype)),
        is_ended=jnp.zeros((prompts, plan.beams), bool),
        improves=jnp.ones(prompts, bool),
        over=jnp.zeros(prompts, bool),
        new=jnp.zeros((), jnp.int32),
        inputs=_own_pasts(inputs, texts, plan.beams),
        scores=record(logits, most) if plan.returns_scores else None,
        logits=record(logits, most) if plan.returns_logits else None,
    )


def advanced(state: State, logits: Float[Array, "R V"], call: Call) -> State:
    """The state with one more token in every running sequence, and with those that ended by it."""
    texts, numbers, plan = call
    rows, slots = logits.shape[0], state.running.tokens.shape[-1]
    past = past_of(state.running.tokens.reshape(rows, slots), state.new, texts)
    scores = changed(jax.nn.log_softmax(logits, axis=-1), past, numbers, plan)
    candidates, ends = _candidates(state, scores, call)
    # A candidate that ended goes to `ended`, not on.
    going = dataclasses.replace(candidates, scores=candidates.scores + ends * OUT)
    running = going.taken(jax.lax.top_k(going.scores, plan.beams)[1])
    ended, is_ended = _ended(state, candidates, ends, call)
    new = state.new + 1
    improves = state.improves & _may_improve(running, ended, is_ended, new, call)
    over = ~improves | jnp.all(ends, axis=1)
    if plan.early_stopping is True:
        over |= jnp.all(is_ended, axis=1)
    origin = jax.lax.dynamic_index_in_dim(running.origins, state.new, axis=2, keepdims=False)
    kept = state.over
    return State(
        running=_where(kept, state.running, running),
        ended=_where(kept, state.ended, ended),
        is_ended=_where(kept, state.is_ended, is_ended),
        improves=_where(kept, state.improves, improves),
        over=kept | over,
        new=new,
        inputs=_followed(state.inputs, origin % plan.beams, state.new, texts),
        scores=recorded(state.scores, scores, state.new),
        logits=recorded(state.logits, logits, state.new),
    )


def is_over(state: State) -> Bool[Array, ""]:
    """Whether no prompt goes on."""
    return jnp.all(state.over)


def last_tokens(state: State, texts: Texts) -> Int[Array, "B K"]:
    """The tokens that the model has not seen yet."""
    column = texts.columns + state.new - 1
    tokens: jax.Array = jax.lax.dynamic_index_in_dim(state.running.tokens, column, axis=2, keepdims=False)
    return tokens


def _candidates(state: State, scores: jax.Array, call: Call) -> tuple[Sequences, Bool[Array, "B C"]]:
    """The best continuations of a prompt's beams, or a sample of them, and which of them end."""
    texts, numbers, plan = call
    vocabulary = scores.shape[-1]
    total = scores.reshape(-1, plan.beams, vocabulary) + state.running.scores[:, :, None]
    flat = total.reshape(len(total), -1)
    drawn = flat
    if texts.keys is not None:
        # The highest scores with Gumbel noise are a sample without replacement: Kool et al. 2019,
        # https://arxiv.org/abs/1903.06059.
        drawn = flat + gumbel(texts.keys[:: plan.beams], state.new, flat)
    places = jax.lax.top_k(drawn, plan.candidates)[1]
    beams, token = places // vocabulary, places % vocabulary
    rows = beams + jnp.arange(len(beams))[:, None] * plan.beams
    before = state.running.taken(beams)
    stop, stops = stopped(before.stop, token, numbers)
    candidates = Sequences(
        tokens=_with(before.tokens, token, texts.columns + state.new),
        scores=_taken(flat, places),
        origins=_with(before.origins, rows, state.new),
        stop=stop,
    )
    new, longest = state.new + 1, texts.longest[:: plan.beams, None]
    ends = numbers.ends[token] | stops | (new >= longest) | (new >= numbers.halt)
    if plan.criteria:
        flat_rows = rows.reshape(-1)
        past = past_of(candidates.tokens.reshape(len(flat_rows), -1), new, texts.taken(flat_rows))
        for criterion in plan.criteria:
            ends |= judged(criterion, past, scores[flat_rows]).reshape(ends.shape)
    return candidates, ends


def _ended(
    state: State, candidates: Sequences, ends: Bool[Array, "B C"], call: Call
) -> tuple[Sequences, Bool[Array, "B K"]]:
    """The best of the sequences that had ended and those that end now, and which of them are there."""
    plan = call.plan
    # A candidate that is not among the first K is there to go on; it does not end.
    now = ends & (jnp.arange(plan.candidates) < plan.beams)[None]
    scores = candidates.scores / _power(state.new + 1, call.numbers.length_penalty)
    closed = ~state.improves
    if plan.early_stopping is True:
        closed |= jnp.all(state.is_ended, axis=1)
    scores = scores + closed[:, None] * OUT + ~now * OUT
    merged = state.ended.beside(dataclasses.replace(candidates, scores=scores))
    places = jax.lax.top_k(merged.scores, plan.beams)[1]
    return merged.taken(places), _taken(jnp.concatenate([state.is_ended, now], axis=1), places)


def _may_improve(
    running: Sequences, ended: Sequences, is_ended: Bool[Array, "B K"], new: jax.Array, call: Call
) -> Bool[Array, " B"]:
    """Whether the best running sequence would beat the worst ended one, at the length that is assumed for it."""
    penalty = call.numbers.length_penalty
    length = jnp.broadcast_to(new, len(is_ended))
    if call.plan.early_stopping == "never":  # a longer one may have a better score, if lengths count in its favour
        length = jnp.where(penalty > 0, call.texts.longest[:: call.plan.beams], length)
    best = running.scores[:, 0] / _power(length, penalty)
    worst = jnp.where(is_ended, ended.scores.min(axis=1, keepdims=True), OUT)
    return jnp.any(best[:, None] > worst, axis=1)


def _power(length: jax.Array, penalty: jax.Array) -> jax.Array:
    return jnp.power(length.astype(jnp.float32), penalty)


def _taken(array: jax.Array, places: Int[Array, "B J"]) -> jax.Array:
    """[B, J, …]: of each row of [B, K, …] those at the places."""
    wide = places.reshape(*places.shape, *[1] * (array.ndim - 2))
    return jnp.take_along_axis(array, wide, axis=1)


def _with(array: jax.Array, values: Int[Array, "B J"], column: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(array, values[..., None].astype(array.dtype), column, axis=2)


def _where(condition: Bool[Array, " B"], kept: Any, new: Any) -> Any:
    def choose(old: jax.Array, now: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(-1, *[1] * (old.ndim - 1)), old, now)

    return jax.tree.map(choose, kept, new)


def _own_pasts(inputs: dict[str, Any], texts: Texts, beams: int) -> dict[str, Any]:
    """The model's arguments with a mask for each beam, which sees the prompt only."""
    mask: jax.Array = inputs["attention_mask"]
    prompt = (mask != 0) & (jnp.arange(mask.shape[1]) < texts.columns)[None]
    return {**inputs, "attention_mask": jnp.repeat(prompt[:, None], beams, axis=1)}


def _followed(inputs: dict[str, Any], beams: Int[Array, "B K"], new: jax.Array, texts: Texts) -> dict[str, Any]:
    """The model's arguments for one more token of each beam: it sees what the beam at `beams` saw, and itself."""
    count = beams.shape[1]
    seen = _taken(inputs["attention_mask"], beams)
    own = jnp.broadcast_to(jnp.eye(count, dtype=bool), (len(beams), count, count))
    seen = jax.lax.dynamic_update_slice_in_dim(seen, own, texts.columns + new * count, axis=2)
    positions = jnp.broadcast_to(inputs["position_ids"], beams.shape)
    return {**inputs, "attention_mask": seen, "position_ids": positions}
