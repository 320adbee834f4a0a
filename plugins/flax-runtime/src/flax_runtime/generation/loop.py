"""Both programs: prefill, from a prompt to its first new token, and decode, from there on to a limit.

decode is one compiled loop. It ends when no row goes on, or at `limit` new tokens, which is an input: who wants to see
tokens while decoding goes on calls it again and again with a higher one.

Shapes: B texts of a call, R rows, T tokens of a text, W = B · T of them all, P columns of the prompt, S slots,
V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flax_runtime.cache import KVCache
from flax_runtime.generation import beams, single
from flax_runtime.generation.batch import Call, Texts
from flax_runtime.generation.options import Plan


class Forward(Protocol):
    """The model."""

    def __call__(
        self, ids: Int[Array, "B T"], inputs: dict[str, Any], *, last_only: bool
    ) -> tuple[Float[Array, "W V"], dict[str, Any]]:
        """Scores behind each token, or the last of each row, in float32 or wider; other arguments of the next call."""
        ...


State = single.State | beams.State


class Search(Protocol):
    """A way to choose tokens: `single` or `beams`."""

    started: Callable[..., Any]
    advanced: Callable[..., Any]
    is_over: Callable[[Any], Bool[Array, ""]]
    last_tokens: Callable[[Any, Texts], Int[Array, "B T"]]


def prefill(
    forward: Forward, ids: Int[Array, "R P"], inputs: dict[str, Any], call: Call, *, slots: int
) -> tuple[State, Texts]:
    """The state with the first new token, and the texts with a row for each sequence that is followed."""
    followed, search = call.plan.followed, _search(call.plan)
    logits, inputs = forward(ids, inputs, last_only=True)
    tokens = jnp.pad(ids, ((0, 0), (0, slots - ids.shape[1])))
    # The prompt is computed once, however many sequences go on from it.
    logits, tokens = (jnp.repeat(array, followed, axis=0) for array in (logits, tokens))
    if call.plan.beams == 1:  # beams share the cache of their prompt
        inputs = {name: _repeated(value, followed) for name, value in inputs.items()}
    call = call._replace(texts=call.texts.repeated(followed))
    state = search.started(tokens, inputs, logits, call, most=slots - ids.shape[1])
    return search.advanced(state, logits, call), call.texts


def decode(forward: Forward, state: State, call: Call, *, limit: Int[Array, ""]) -> State:
    """The state after `limit` new tokens, or when no row goes on."""
    search = _search(call.plan)

    def goes_on(state: Any) -> jax.Array:
        return jnp.logical_and(state.new < limit, ~search.is_over(state))

    def step(state: Any) -> Any:
        logits, inputs = forward(search.last_tokens(state, call.texts), state.inputs, last_only=False)
        return search.advanced(dataclasses.replace(state, inputs=inputs), logits, call)

    last: State = jax.lax.while_loop(goes_on, step, state)
    return last


def _search(plan: Plan) -> Search:
    return beams if plan.beams > 1 else single


def _repeated(value: Any, times: int) -> Any:
    if times == 1:
        return value
    return value.repeated(times) if isinstance(value, KVCache) else jnp.repeat(value, times, axis=0)
