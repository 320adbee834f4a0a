"""Cosine similarities of vectors, and the nearest pairs among them. The only module here that needs numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from automodels.errors import PluginError

ROWS = 1024  # how many rows of the similarity matrix are held at once


def checked_vectors(value: Any, count: int) -> NDArray[np.float32]:
    """What `encode` returned, as [texts, numbers]; raises PluginError when it is nothing of the kind."""
    vectors = np.asarray(value)
    if vectors.ndim != 2 or len(vectors) != count or vectors.dtype.kind != "f":
        shape, kind = list(vectors.shape), vectors.dtype
        raise PluginError(f"encode returned {kind} of shape {shape} for {count} texts, not one vector for each.")
    vectors = vectors.astype(np.float32)
    if not np.isfinite(vectors).all():
        bad = [int(row) for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1))[:5]]
        raise PluginError(f"encode returned numbers that are not finite for texts {', '.join(map(str, bad))} (from 0).")
    return vectors


def similarities(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity of every vector with every other one; a vector of zeros is similar to nothing."""
    unit = _unit(vectors)
    result: NDArray[np.float32] = unit @ unit.T
    return result


def nearest_pairs(vectors: NDArray[np.float32], count: int) -> list[tuple[float, int, int]]:
    """The `count` most similar pairs, as (similarity, first, second), the most similar first."""
    unit = _unit(vectors)
    best: list[tuple[float, int, int]] = []
    for start in range(0, len(unit), ROWS):
        block = unit[start : start + ROWS] @ unit.T
        block[np.tri(len(block), len(unit), start, dtype=bool)] = -np.inf  # each pair once, and no text with itself
        flat = block.ravel()
        top = np.argpartition(flat, -count)[-count:] if flat.size > count else np.arange(flat.size)
        rows, columns = np.divmod(top, block.shape[1])
        pairs = zip(flat[top].tolist(), (rows + start).tolist(), columns.tolist(), strict=True)
        best = sorted([*best, *(pair for pair in pairs if pair[0] > -np.inf)], key=lambda pair: (-pair[0], pair[1:]))
        best = best[:count]
    return best


def numbers(vector: NDArray[np.float32]) -> list[float]:
    """The vector as the shortest decimals that are read back as the same float32."""
    return [float(str(number)) for number in vector]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: NDArray[np.float32] = vectors / lengths
    return unit
