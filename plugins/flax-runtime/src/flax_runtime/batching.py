"""Batches of texts of different lengths, in few shapes, so that few programs are compiled.

Texts are sorted by length and cut into batches; a batch is as wide as its longest text, rounded up to a bucket. The
number of rows of a width is fixed; only what is left over at the end makes a batch of fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

SMALL_ROWS = (1, 8)  # shapes for single texts and for what is left over


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some texts, padded: R rows and T tokens; rows beyond the texts are padding alone."""

    texts: tuple[int, ...]
    """Their places in the input."""

    ids: np.ndarray
    """[R, T] int32."""

    mask: np.ndarray
    """[R, T] int32, 0 for padding."""


def bucket(length: int, limit: int) -> int:
    """The least bucket that holds `length` tokens: steps of an eighth to a quarter, at least 8; `limit` is one too."""
    step = max(8, 1 << max((max(length, 1) - 1).bit_length() - 3, 0))
    return min(-(-max(length, 1) // step) * step, limit)


def batches(
    rows_of_ids: Sequence[Sequence[int]], *, limit: int, batch_size: int, tokens: int, pad: int = 0
) -> Iterator[Batch]:
    """Batches that cover every text once, the longest first.

    A batch has at most `batch_size` rows and about `tokens` tokens. No text may be longer than `limit`.
    """
    order = sorted(range(len(rows_of_ids)), key=lambda place: -len(rows_of_ids[place]))
    start = 0
    while start < len(order):
        width = bucket(len(rows_of_ids[order[start]]), limit)
        full = max(1, min(batch_size, tokens // width))
        chosen = tuple(order[start : start + full])
        start += len(chosen)
        rows = min(size for size in (*SMALL_ROWS, full) if size >= len(chosen) and size <= full)
        ids = np.full((rows, width), pad, np.int32)
        mask = np.zeros((rows, width), np.int32)
        for row, place in enumerate(chosen):
            length = len(rows_of_ids[place])
            ids[row, :length] = rows_of_ids[place]
            mask[row, :length] = 1
        yield Batch(texts=chosen, ids=ids, mask=mask)
