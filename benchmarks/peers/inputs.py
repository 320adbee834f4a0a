"""The same inputs for every worker."""

from __future__ import annotations

import numpy as np


def inputs_of(batch: int, tokens: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Random token ids, and a mask in which each text but the first has padding at its end."""
    ids = np.random.default_rng(0).integers(0, vocabulary, (batch, tokens)).astype(np.int32)
    mask = np.ones_like(ids)
    for row in range(1, batch):
        mask[row, tokens - row * tokens // (2 * batch) :] = 0
    return ids, mask


def prompts_of(batch: int, tokens: int, vocabulary: int) -> np.ndarray:
    """Random prompts without padding, the same for every worker."""
    return np.random.default_rng(tokens).integers(3, vocabulary, (batch, tokens)).astype(np.int32)
