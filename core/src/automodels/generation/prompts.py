"""Prompts: checked on the host, where their values can be looked at.

Shapes: R rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Token ids, and which of them are no padding; each row ends in a token."""

    ids: np.ndarray
    """[R, T] int32."""

    mask: np.ndarray
    """[R, T] bool."""

    @property
    def rows(self) -> int:
        """Number of texts."""
        return int(self.ids.shape[0])

    @property
    def width(self) -> int:
        """Tokens of a row, padding included."""
        return int(self.ids.shape[1])

    @property
    def lengths(self) -> np.ndarray:
        """[R] tokens of each text, padding not counted."""
        lengths: np.ndarray = self.mask.sum(axis=1, dtype=np.int32)
        return lengths

    @property
    def texts(self) -> list[np.ndarray]:
        """The ids of each text."""
        return [ids[mask] for ids, mask in zip(self.ids, self.mask, strict=True)]

    def padded(self, width: int) -> Prompt:
        """The same texts with padding on the left up to `width`."""
        before = [(0, 0), (width - self.width, 0)]
        return Prompt(ids=np.pad(self.ids, before), mask=np.pad(self.mask, before))


def checked_prompt(
    input_ids: Any, attention_mask: Any, *, vocab_size: int, pad: int | None = None, ends: Collection[int] = ()
) -> Prompt:
    """The prompt; raises InputError when it is none.

    Without `attention_mask`, tokens `pad` count as padding, unless `pad` is one of `ends`.
    """
    ids = _table("input_ids", input_ids)
    _refuse_values(ids, vocab_size)
    if attention_mask is not None:
        mask = _table("attention_mask", attention_mask) != 0
    else:
        mask = ids != pad if pad is not None and pad not in ends else np.ones(ids.shape, bool)
    if mask.shape != ids.shape:
        raise InputError(f"attention_mask has shape {list(mask.shape)}, input_ids {list(ids.shape)}.")
    _refuse_padding(mask, by_token=None if attention_mask is not None else pad)
    return Prompt(ids=ids.astype(np.int32), mask=mask)


def _table(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is no array: {error}.", hints=["Pad the rows on the left to one length."]) from error
    if isinstance(value, Mapping):
        raise InputError(f"{name} is a {type(value).__name__}.", hints=["Pass what is in it: generate(**batch)."])
    if array.dtype.kind == "U":
        raise InputError(
            f"{name} holds text, not token ids.", hints=['Pass **tokenizer(texts, padding=True, return_tensors="np").']
        )
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} has shape {list(array.shape)}; a prompt is [batch, tokens], both at least 1.")
    if array.dtype.kind not in ("iub" if name == "attention_mask" else "iu"):
        raise InputError(f"{name} holds {array.dtype.name}, not whole numbers.")
    return array


def _refuse_values(ids: np.ndarray, vocab_size: int) -> None:
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise InputError(
            f"input_ids has the value {low if low < 0 else high}; the vocabulary has ids 0 to {vocab_size - 1}."
        )


def _refuse_padding(mask: np.ndarray, *, by_token: int | None) -> None:
    """A text that ends in padding would go on behind it; one of padding alone has nothing to go on from."""
    if mask[:, -1].all():
        return
    row = int(np.argmin(mask[:, -1]))
    why = f" (tokens {by_token}, pad_token_id, without attention_mask)" if by_token is not None else ""
    if not mask[row].any():
        raise InputError(f"Row {row} of the prompt is padding alone{why}.", hints=["Pass at least one token."])
    raise InputError(
        f"Row {row} of the prompt ends in padding{why}; new tokens would come behind it.",
        hints=['Pad on the left: tokenizer.padding_side = "left".'],
    )
