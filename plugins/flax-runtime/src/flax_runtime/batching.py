"""Batches of texts of different lengths, in few shapes, so that few programs are compiled.

A batch is as wide as its longest text, rounded up to a bucket. The number of rows of a width is fixed; only what is
left over at the end makes a batch of fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from automodels.runtime.batching import Batch
from automodels.runtime.batching import batches as sorted_batches

SMALL_ROWS = (1, 8)  # shapes for single texts and for what is left over


def bucket(length: int, limit: int, *, least: int = 8) -> int:
    """The least bucket that holds `length` tokens; `limit` is one too.

    Steps are of an eighth to a quarter, and of `least` tokens at least.
    """
    step = max(least, 1 << max((max(length, 1) - 1).bit_length() - 3, 0))
    return min(-(-max(length, 1) // step) * step, limit)


def batches(
    rows_of_ids: Sequence[Sequence[int]], *, limit: int, batch_size: int, tokens: int, pad: int = 0
) -> Iterator[Batch]:
    """Batches that cover every text once, the longest first.

    A batch has at most `batch_size` rows and about `tokens` tokens. No text may be longer than `limit`.
    """
    return sorted_batches(
        rows_of_ids,
        batch_size=batch_size,
        tokens=tokens,
        pad=pad,
        width_of=lambda longest: bucket(longest, limit),
        rows_of=_rows,
    )


def _rows(texts: int, full: int) -> int:
    return min(size for size in (*SMALL_ROWS, full) if texts <= size <= full)
