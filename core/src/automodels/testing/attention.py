"""Cases that every attention function has to compute like the formula, and the formula in numpy.

A runtime's suite turns them into arrays of its framework.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

BATCH, HEADS = 2, 2
DTYPES = ("float32", "bfloat16", "float16")
ROUNDING = {"float32": 2.0**-18, "bfloat16": 2.0**-6, "float16": 2.0**-9}
"""Largest difference by the largest value: four roundings of half types, and of sums of a few hundred in float32."""
GRADIENT_ROUNDING = {"float32": 2e-5, "bfloat16": 0.05, "float16": 0.01}
"""Largest difference by the largest gradient."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class AttentionCase:
    """One call of an attention function."""

    queries: int = 37
    keys: int = 37
    head_size: int = 64
    causal: bool = False
    window: int | None = None
    offset: int = 0
    """Place of the first query among the keys."""

    padding: str = ""
    """Where texts are padded: `left`, `right`, or `all` of the last one; the first one never is."""

    bias: bool = False
    scale: float | None = None

    @property
    def features(self) -> frozenset[str]:
        """What an attention function has to be able to do for it, of `automodels.plugins.tables.FEATURES`."""
        named = {"causal": self.causal, "window": self.window, "padding": self.padding, "bias": self.bias}
        return frozenset(name for name, is_needed in named.items() if is_needed)

    def __str__(self) -> str:
        parts = [
            f"{self.queries}x{self.keys}",
            f"head{self.head_size}",
            "causal" if self.causal else "",
            f"window{self.window}" if self.window else "",
            f"from{self.offset}" if self.offset else "",
            f"padded-{self.padding}" if self.padding else "",
            "bias" if self.bias else "",
            f"scale{self.scale:g}" if self.scale is not None else "",
        ]
        return "-".join(part for part in parts if part)


def _cases() -> tuple[AttentionCase, ...]:
    plain = AttentionCase()
    causal = replace(plain, causal=True)
    seen = (plain, causal, replace(causal, window=5))
    features = [
        replace(case, padding=padding, bias=bias)
        for case, padding, bias in itertools.product(seen, ("", "left", "right", "all"), (False, True))
    ]
    sizes = [replace(case, head_size=size) for case in (plain, causal) for size in (32, 80, 128, 256)]
    lengths = [replace(causal, queries=length, keys=length) for length in (1, 2, 16, 17, 64, 129, 200)]
    cached = [
        replace(causal, queries=queries, keys=48, offset=offset, padding=padding, window=window)
        for queries, offset in ((1, 0), (1, 30), (3, 30), (20, 11))
        for padding in ("", "left")
        for window in (None, 7)
    ]
    others = [replace(plain, queries=7, keys=29, padding=padding) for padding in ("", "right")]
    return (*features, *sizes, *lengths, *cached, *others, replace(causal, scale=1.0))


CASES: tuple[AttentionCase, ...] = _cases()
"""Causal or not, windows, padding on either side and over everything, biases, head sizes, odd lengths, a cache."""


@dataclass(frozen=True, kw_only=True)
class AttentionInputs:
    """Arrays of one call, in float64 but for the masks; the numbers are those that the type in question can hold."""

    q: Array
    """[B, T, N, H]"""

    k: Array
    """[B, S, N, H]"""

    v: Array
    """[B, S, N, H]"""

    padding: Array | None
    """[B, S] true where there is a token."""

    bias: Array | None
    """[1, N, T, S]"""


def attention_inputs(case: AttentionCase, dtype: str = "float32", *, batch: int = BATCH) -> AttentionInputs:
    """The arrays of a case, the same in every process."""
    import ml_dtypes

    random = np.random.default_rng(20261121)
    kind: Any = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)

    def drawn(*shape: int) -> Array:
        held: Array = random.normal(size=shape).astype(kind).astype(np.float64)
        return held

    queries, keys, size = case.queries, case.keys, case.head_size
    q, k, v = (drawn(batch, length, HEADS, size) for length in (queries, keys, keys))
    bias = drawn(1, HEADS, queries, keys) if case.bias else None
    return AttentionInputs(q=q, k=k, v=v, padding=_padding(case, batch), bias=bias)


def seen_keys(case: AttentionCase, inputs: AttentionInputs) -> Array:
    """[B, 1, T, S] true where a query looks."""
    places = case.offset + np.arange(case.queries)[:, None]
    keys = np.arange(case.keys)[None]
    seen: Array = np.ones((case.queries, case.keys), bool)
    if case.causal:
        seen &= keys <= places
    if case.window is not None:
        seen &= keys > places - case.window
    batch = len(inputs.q)
    whole = np.broadcast_to(seen, (batch, 1, case.queries, case.keys))
    return whole if inputs.padding is None else whole & inputs.padding[:, None, None]


def formula(case: AttentionCase, inputs: AttentionInputs) -> Array:
    """[B, T, N, H] softmax(q kᵀ · scale + bias) v in float64; 0 for queries that see nothing."""
    scale = case.head_size**-0.5 if case.scale is None else case.scale
    scores = np.einsum("btnh,bsnh->bnts", inputs.q, inputs.k) * scale
    if inputs.bias is not None:
        scores = scores + inputs.bias
    seen = seen_keys(case, inputs)
    scores = np.where(seen, scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    totals = powers.sum(axis=-1, keepdims=True)
    result: Array = np.einsum("bnts,bsnh->btnh", powers / np.where(totals == 0, 1, totals), inputs.v)
    return result


def check_attention(found: Any, case: AttentionCase, inputs: AttentionInputs, dtype: str) -> None:
    """Raises AssertionError unless `found` [B, T, N, H] is what the formula says, as far as the type holds it.

    Queries that see nothing are padding: what they get is finite.
    """
    result = np.asarray(found).astype(np.float64)
    assert result.shape == inputs.q.shape, f"{result.shape} is not the shape of the queries, {inputs.q.shape}"
    assert np.isfinite(result).all(), f"{case} in {dtype}: not all numbers are finite"
    asks = seen_keys(case, inputs).sum(axis=-1) > 0
    difference = np.abs(result - formula(case, inputs))[asks[:, 0]].max(initial=0)
    allowed = ROUNDING[dtype] * np.abs(inputs.v).max()
    assert difference <= allowed, f"{case} in {dtype}: differs by {difference:.2e}, {allowed:.2e} are allowed"


def _padding(case: AttentionCase, batch: int) -> Array | None:
    """[B, S]; the first text has no padding, the last one the most."""
    if not case.padding:
        return None
    kept = np.ones((batch, case.keys), bool)
    few = case.keys // 3
    for row in range(1, batch):
        hidden = case.keys if case.padding == "all" else few * row // (batch - 1)
        kept[row, slice(0, hidden) if case.padding != "right" else slice(case.keys - hidden, None)] = False
    return kept
