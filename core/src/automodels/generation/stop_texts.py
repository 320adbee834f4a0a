"""Texts that end a sequence, found while it is generated: an automaton over bytes that reads tokens.

Texts and tokens do not share their borders: a text may begin inside one token and end inside another. So what is known
of the last bytes is a state of the automaton of Aho and Corasick (1975, https://doi.org/10.1145/360825.360855), and for
every state and every token there is the state behind it. Looking for texts is one look-up for each new token.

Shapes: M states, V vocabulary, R rows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from automodels.errors import InputError
from automodels.text.stream import token_bytes

HIT = 0
"""The state in which a text has been found; it is not left."""

ROOT = 1
_SIZES = 16  # numbers of states are rounded up, so that other texts often compile nothing


class StopTexts:
    """What a tokenizer's tokens mean to the automaton of some texts."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], vocab_size: int) -> None:
        self._steps, self._found = _automaton([text.encode() for text in texts])
        self._pieces = _pieces(tokenizer, vocab_size)
        self.table: np.ndarray = self._table(vocab_size)
        """[M, V] int32: the state behind a token."""

    def state(self, ids: Iterable[int]) -> int:
        """The state behind a prompt; a text inside it does not count, only what it begins."""
        state = ROOT
        for byte in b"".join(self._pieces[index] for index in ids):
            state = int(self._steps[state, byte])
        return state

    def _table(self, vocab_size: int) -> np.ndarray:
        lengths = np.array([len(piece) for piece in self._pieces])
        order = np.argsort(-lengths, kind="stable")
        letters = np.zeros((vocab_size, int(lengths.max(initial=0))), np.uint8)
        for row, index in enumerate(order):
            letters[row, : lengths[index]] = list(self._pieces[index])
        steps = np.where(self._found[self._steps], HIT, self._steps)
        steps[HIT] = HIT
        states = np.repeat(np.arange(len(steps))[:, None], vocab_size, axis=1)
        for place in range(letters.shape[1]):
            longer = int((lengths > place).sum())  # the first rows
            states[:, :longer] = steps[states[:, :longer], letters[None, :longer, place]]
        table = np.full((-(-len(steps) // _SIZES) * _SIZES, vocab_size), HIT, np.int32)
        table[: len(steps), order] = states
        return table


@functools.lru_cache(maxsize=4)
def stop_texts(tokenizer: Any, texts: tuple[str, ...], vocab_size: int) -> StopTexts:
    """The automaton's table, which takes a moment to make. Raises InputError without a tokenizer of automodels."""
    if not hasattr(tokenizer, "backend"):
        found = "there is none" if tokenizer is None else f"tokenizer is a {type(tokenizer).__name__}"
        raise InputError(
            f"stop_strings needs the tokenizer, and {found}.",
            hints=["Pass tokenizer=AutoTokenizer.from_pretrained(…), of automodels."],
        )
    return StopTexts(tokenizer, texts, vocab_size)


def _automaton(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """[M, 256] the state behind each byte, and [M] in which states a text has just ended."""
    nodes: list[dict[int, int]] = [{}, {}]  # HIT has no place in the tree
    found = {HIT}
    for text in texts:
        node = ROOT
        for byte in text:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
            node = nodes[node][byte]
        found.add(node)
    steps = np.full((len(nodes), 256), ROOT, np.int32)
    waiting = [(child, ROOT) for child in nodes[ROOT].values()]
    for byte, child in nodes[ROOT].items():
        steps[ROOT, byte] = child
    while waiting:  # by depth: what a node falls back to is known before the node
        node, fallback = waiting.pop(0)
        if fallback in found:
            found.add(node)
        steps[node] = steps[fallback]
        for byte, child in nodes[node].items():
            waiting.append((child, int(steps[fallback, byte])))
            steps[node, byte] = child
    return steps, np.array([state in found for state in range(len(nodes))])


def _pieces(tokenizer: Any, vocab_size: int) -> list[bytes]:
    """What each token adds to a text; nothing for ids that the tokenizer does not know."""
    backend = tokenizer.backend
    known = min(vocab_size, len(tokenizer))
    if type(backend.decoder).__name__ == "ByteLevel":
        tokens = [backend.id_to_token(index) for index in range(known)]
        pieces = [b"" if token is None else token_bytes(token) for token in tokens]
    else:
        # In other tokenizers what a token adds depends on whether something stands before it.
        anchor = tokenizer.encode("a", add_special_tokens=False)
        before = backend.decode(anchor, skip_special_tokens=False)
        both = backend.decode_batch([[*anchor, index] for index in range(known)], skip_special_tokens=False)
        pieces = [text.removeprefix(before).encode() for text in both]
    return pieces + [b""] * (vocab_size - known)
