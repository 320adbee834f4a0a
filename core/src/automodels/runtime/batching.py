"""Batches of texts of different lengths: sorted by length, so that little is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some texts, padded: R rows and T tokens; rows beyond the texts are padding alone."""

    texts: tuple[int, ...]
    """Their places in the input."""

    ids: np.ndarray
    """[R, T] int32."""

    mask: np.ndarray
    """[R, T] int32, 0 for padding."""


def batches(
    rows_of_ids: Sequence[Sequence[int]],
    *,
    batch_size: int,
    tokens: int,
    pad: int = 0,
    width_of: Callable[[int], int] = lambda longest: max(longest, 1),
    rows_of: Callable[[int, int], int] = lambda texts, full: texts,
) -> Iterator[Batch]:
    """Batches that cover every text once, the longest first.

    A batch has at most `batch_size` rows and about `tokens` tokens. `width_of(longest)` is how wide it is, by default
    as its longest text; `rows_of(texts, full)` how many rows it has for that many texts, `full` being the most.
    """
    order = sorted(range(len(rows_of_ids)), key=lambda place: -len(rows_of_ids[place]))
    start = 0
    while start < len(order):
        width = width_of(len(rows_of_ids[order[start]]))
        full = max(1, min(batch_size, tokens // width))
        chosen = tuple(order[start : start + full])
        start += len(chosen)
        rows = rows_of(len(chosen), full)
        ids = np.full((rows, width), pad, np.int32)
        mask = np.zeros((rows, width), np.int32)
        for row, place in enumerate(chosen):
            length = len(rows_of_ids[place])
            ids[row, :length] = rows_of_ids[place]
            mask[row, :length] = 1
        yield Batch(texts=chosen, ids=ids, mask=mask)
