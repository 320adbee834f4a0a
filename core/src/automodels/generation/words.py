"""Tokens and sequences of tokens as arrays, for scores to be changed by.

Shapes: V vocabulary, W words, L tokens of the longest word but its last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

ANY = -1
"""Stands in place of a token before a word that is shorter than others."""

Word = tuple[Sequence[int], float]
"""Tokens, and what is added to the score of the last one behind the others."""


class WordArrays(NamedTuple):
    """Words, one in each row."""

    before: np.ndarray[Any, Any]
    """[W, L] all tokens but the last, at the end of their rows."""

    last: np.ndarray[Any, Any]
    """[W]"""

    bias: np.ndarray[Any, Any]
    """[W]"""


def token_flags(tokens: Sequence[int], vocab_size: int) -> np.ndarray[Any, Any]:
    """[V] true at the tokens; those outside the vocabulary cannot occur."""
    flags = np.zeros(vocab_size, bool)
    flags[[token for token in tokens if token < vocab_size]] = True
    return flags


def word_arrays(words: Sequence[Word], *, rows: int | None = None, width: int | None = None) -> WordArrays:
    """Words as arrays of at least their own size; a row that is left over adds 0 to token 0."""
    longest = max((len(tokens) - 1 for tokens, _ in words), default=0)
    rows, width = rows or len(words), longest if width is None else width
    before = np.full((rows, width), ANY, np.int32)
    last = np.zeros(rows, np.int32)
    bias = np.zeros(rows, np.float32)
    for row, (tokens, value) in enumerate(words):
        if len(tokens) > 1:
            before[row, -(len(tokens) - 1) :] = tokens[:-1]
        last[row], bias[row] = tokens[-1], value
    return WordArrays(before, last, bias)
