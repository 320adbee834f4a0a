"""What both workers for backends do alike: who is admitted, short calls measured, cases held against the formula."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from protocol import seconds_of

from automodels.backends import BackendReport
from automodels.errors import BackendUnavailableError, InputError
from automodels.testing.attention import (
    CASES,
    AttentionCase,
    AttentionInputs,
    attention_inputs,
    check_attention,
    formula,
    seen_keys,
)

AT_LEAST, MOST = 0.005, 200  # seconds of a measurement, below which the clock counts; and calls in it
HIDDEN = 4  # one of so many keys is padding
GRADIENT_KEYS = 37  # their cases with gradients have so many queries and keys
SHOWN = 3  # failures that are named

Compute = Callable[[AttentionCase, AttentionInputs], Any]


def admitted(report_of: Callable[[str], BackendReport]) -> dict[str, Any]:
    """Names of the attention functions that can be had by name, why the others cannot, and which is chosen itself."""
    auto = report_of("auto")
    found: dict[str, Any] = {"auto": auto.name, "accepted": [], "ways": [], "rejected": {}}
    for candidate in auto.candidates:
        name, is_attention = candidate.table.name, candidate.table.kind == "attention"
        try:
            report_of(name)
            found["accepted" if is_attention else "ways"].append(name)
        except BackendUnavailableError as error:
            found["rejected"][name] = candidate.rejection or str(error)
    return found


class Repeated:
    """A function, called so often that the time of a measurement can be trusted."""

    def __init__(self, function: Callable[[], Any], wait: Callable[[Any], Any]) -> None:
        """`wait` returns when a result is there."""
        self.function, self.wait = function, wait
        wait(function())
        seconds = seconds_of(lambda: wait(function()))
        self.number = min(MOST, max(1, math.ceil(AT_LEAST / seconds)))

    def seconds(self) -> float:
        """Of one call."""

        def run() -> None:
            result = None
            for _ in range(self.number):
                result = self.function()
            self.wait(result)

        return seconds_of(run) / self.number


def cell_arrays(seen: str, batch: int, queries: int, keys: int, heads: int, size: int) -> list[np.ndarray | None]:
    """Queries, keys, values [B, T, N, H] of random numbers, and for `seen` "padding" a mask [B, 1, 1, S]."""
    random = np.random.default_rng(0)
    arrays: list[np.ndarray | None] = [
        random.standard_normal((batch, length, heads, size), np.float32) for length in (queries, keys, keys)
    ]
    mask = np.ones((batch, 1, 1, keys), bool)
    mask[..., : keys // HIDDEN] = False
    return [*arrays, mask if seen == "padding" else None]


def outcomes(
    dtype: str,
    forward: Compute,
    gradients: Callable[..., Any],
    *,
    rounding: float,
    **limits: Any,
) -> dict[str, Any]:
    """How many cases of the conformance suites came out right, forwards and backwards; see `_tally`.

    `forward` gives [B, T, N, H]; `gradients` those of queries, keys and values, with `is_plain` by the plain formula in
    float32, of a loss that all results of queries that see something enter; they may differ by `rounding`.
    """

    def forward_error(case: AttentionCase) -> float:
        inputs = attention_inputs(case, dtype)
        found = np.asarray(forward(case, inputs), np.float64)
        check_attention(found, case, inputs, dtype)
        asks = asking(case, inputs)
        return float(np.abs(found - formula(case, inputs))[asks].max(initial=0) / np.abs(inputs.v).max())

    def gradient_error(case: AttentionCase) -> float:
        inputs = attention_inputs(case, dtype)
        found, plain = (gradients(case, inputs, is_plain=is_plain) for is_plain in (False, True))
        assert all(np.isfinite(one).all() for one in found), f"{case} in {dtype}: not all gradients are finite"
        error = max(
            float(np.abs(one - other).max() / np.abs(other).max()) for one, other in zip(found, plain, strict=True)
        )
        assert error < rounding, f"{case} in {dtype}: gradients differ by {error:.1e} of the largest"
        return error

    square = [case for case in CASES if case.keys == case.queries == GRADIENT_KEYS]
    return {"forward": _tally(CASES, forward_error, **limits), "gradients": _tally(square, gradient_error, **limits)}


def asking(case: AttentionCase, inputs: AttentionInputs) -> np.ndarray:
    """[B, T] true for queries that see something."""
    return seen_keys(case, inputs).any(axis=-1)[:, 0]


def loss_weights(shape: tuple[int, ...], asks: np.ndarray) -> np.ndarray:
    """What results [B, T, N, H] are multiplied by before they are summed to a loss."""
    found: np.ndarray = np.where(asks[..., None, None], np.cos(np.arange(math.prod(shape))).reshape(shape), 0)
    return found.astype(np.float32)


def _tally(
    cases: Sequence[AttentionCase], error_of: Callable[[AttentionCase], float], *, every: int, seconds: float
) -> dict[str, Any]:
    """Cases passed, failed, refused and not tried; the largest difference, by the largest number.

    Of the cases, each `every`th is tried, until `seconds` are over.
    """
    passed, refused, worst, failures = 0, 0, 0.0, []
    chosen = cases[::every]
    started = time.perf_counter()
    for case in chosen:
        if time.perf_counter() - started > seconds:
            break
        try:
            worst = max(worst, error_of(case))
            passed += 1
        except InputError:  # what Attend says for a backend that was asked for by name
            refused += 1
        except Exception as error:
            failures.append(f"{case}: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}")
    tried = passed + refused + len(failures)
    return {
        "passed": passed, "failed": len(failures), "refused": refused, "not tried": len(cases) - tried,
        "worst difference": worst, "failures": failures[:SHOWN],
    }  # fmt: skip
