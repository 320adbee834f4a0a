"""One call of generate, on the host: both programs, the clock, and the result.

Shapes: R rows, S slots, N most new tokens.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from flax_runtime.generation import beams
from flax_runtime.generation.batch import Call, Texts
from flax_runtime.generation.loop import State
from flax_runtime.generation.options import NEVER, Numbers
from flax_runtime.generation.output import FlaxGenerateOutput

Prefill = Callable[[Texts, Numbers], tuple[State, Texts]]
Decode = Callable[[State, Texts, Numbers, Any], State]


class Run:
    """The state of a call between its programs."""

    def __init__(self, prefill: Prefill, decode: Decode, call: Call, *, max_time: float | None) -> None:
        """Computes the prompt and the first new token of every row."""
        self._started = time.monotonic()
        self._max_time = max_time
        self._decode, self._numbers, self._plan = decode, call.numbers, call.plan
        self._columns, self._shift = int(call.texts.columns), int(call.texts.shift)
        self._state, self._texts = prefill(call.texts, call.numbers)

    def finish(self) -> None:
        """Goes on until every row has ended, or the time is up."""
        if self._max_time is None:
            self._go_on(NEVER)
            return
        pace = _Pace(self._started + self._max_time)
        while not self._is_over():
            if (steps := pace.steps(self._new())) == 0:
                self._end_now()
                return
            self._go_on(self._new() + steps)

    def pieces(self, size: int) -> Iterator[np.ndarray]:
        """New tokens [R, n] of all rows, first one, then `size` at a time.

        The next ones are being computed while the caller has the last ones.
        """
        seen = 0
        while True:
            new, tokens, is_over = self._new(), self._tokens(), self._is_over() or self._is_late()
            if not is_over:
                self._go_on(new + size)
            yield tokens[:, self._columns + seen : self._columns + new]
            seen = new
            if is_over:
                return

    def result(self) -> FlaxGenerateOutput:
        """The sequences that there are now."""
        state, steps = self._state, self._new()
        records = {
            name: None if (record := getattr(state, name)) is None else jax.device_put(np.asarray(record)[:steps])
            for name in ("scores", "logits")
        }
        if isinstance(state, beams.State):
            return self._best(state, records)
        lengths = np.asarray(state.lengths)
        return FlaxGenerateOutput(
            sequences=jax.device_put(self._filled(self._tokens(), lengths)), lengths=jax.device_put(lengths), **records
        )

    def _best(self, state: beams.State, records: dict[str, Any]) -> FlaxGenerateOutput:
        ended, returned = state.ended, self._plan.returned
        best = (np.asarray(array)[:, :returned] for array in (ended.tokens, ended.scores, ended.origins))
        tokens, scores, origins = (array.reshape(-1, *array.shape[2:]) for array in best)
        lengths = (origins >= 0).sum(axis=1, dtype=np.int32)
        return FlaxGenerateOutput(
            sequences=jax.device_put(self._filled(tokens, lengths)),
            lengths=jax.device_put(lengths),
            sequences_scores=jax.device_put(scores),
            beam_indices=jax.device_put(origins[:, : lengths.max()]),
            **records,
        )

    def _filled(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The caller's columns of the prompt, then the new tokens, and behind a row's end the padding token."""
        behind = np.arange(lengths.max())[None] >= lengths[:, None]
        new = tokens[:, self._columns : self._columns + lengths.max()]
        filled = np.where(behind, np.asarray(self._numbers.pad), new)
        return np.concatenate([tokens[:, self._shift : self._columns], filled], axis=1)

    def _go_on(self, limit: int) -> None:
        self._state = self._decode(self._state, self._texts, self._numbers, np.int32(min(limit, NEVER)))

    def _end_now(self) -> None:
        """Beams become sequences when they end, so they are made to, with one more token; others just stop."""
        if isinstance(self._state, beams.State):
            halt: Any = np.int32(self._new() + 1)
            self._numbers = dataclasses.replace(self._numbers, halt=halt)
            self._go_on(NEVER)

    def _is_late(self) -> bool:
        return self._max_time is not None and time.monotonic() - self._started >= self._max_time

    def _new(self) -> int:
        return int(self._state.new)

    def _is_over(self) -> bool:
        state = self._state
        return bool(np.asarray(state.over if isinstance(state, beams.State) else state.finished).all())

    def _tokens(self) -> np.ndarray:
        """[R, S], copied: the state's own memory is written to by the next step."""
        assert not isinstance(self._state, beams.State)
        return np.array(self._state.tokens)


class _Pace:
    """How many steps to take before the clock is looked at again: half of what the time left seems to be enough for."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._last: tuple[float, int] | None = None

    def steps(self, done: int) -> int:
        """Steps from here on; 0 when the time is up."""
        now = time.monotonic()
        if now >= self._deadline:
            return 0
        steps = 1
        if self._last is not None and done > self._last[1]:
            each = (now - self._last[0]) / (done - self._last[1])
            steps = max(1, int((self._deadline - now) / (2 * max(each, 1e-6))))
        self._last = now, done
        return steps
