"""Texts with gaps, and what fills them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.errors import InputError, PluginError

SPELLINGS = ("[MASK]", "<mask>")  # taken for a gap whatever the tokenizer calls it


@dataclass(frozen=True, kw_only=True)
class Gapped:
    """A text with at least one gap, and its tokens."""

    text: str
    pieces: tuple[str, ...]
    """The text before, between and behind the gaps."""

    ids: list[int]
    places: tuple[int, ...]
    """Of the gaps, among the tokens."""

    mask_token: str

    def shortened(self) -> str:
        return self.text if len(self.text) <= 40 else self.text[:37] + "..."

    def filled(self, number: int, token: str) -> str:
        """The text with one gap filled; a token that goes on with a word stands right behind it."""
        before = self.mask_token.join(self.pieces[: number + 1])
        behind = self.mask_token.join(self.pieces[number + 1 :])
        return before.rstrip() + token[2:] + behind if token.startswith("##") else before + token.strip() + behind


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A token for a gap."""

    token: str
    id: int
    probability: float
    text: str

    def described(self) -> dict[str, object]:
        """For JSON."""
        return {"token": self.token, "id": self.id, "probability": self.probability, "text": self.text}


def gapped(text: str, tokenizer: Any) -> Gapped:
    """The text cut at its gaps; raises InputError when there is none, or the tokenizer has no token for them."""
    mask: str | None = tokenizer.mask_token
    if mask is None or tokenizer.mask_token_id is None:
        raise InputError(
            f"The tokenizer of {tokenizer.name_or_path} has no token for gaps: its model was not trained to fill them.",
            hints=["For text that follows a prompt: registry run generate MODEL"],
        )
    spellings = "|".join(map(re.escape, dict.fromkeys([mask, *SPELLINGS])))
    pieces = tuple(re.split(spellings, text))
    if len(pieces) == 1:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise InputError(f"There is no gap in {shown!r}.", hints=[f"Write {mask} where a token is wanted."])
    ids = tokenizer.encode(mask.join(pieces))
    places = tuple(place for place, token in enumerate(ids) if token == tokenizer.mask_token_id)
    if len(places) != len(pieces) - 1:
        raise InputError(f"The tokenizer sees {len(places)} gaps in {text[:40]!r}, which has {len(pieces) - 1}.")
    return Gapped(text=text, pieces=pieces, ids=ids, places=places, mask_token=mask)


def best(logits: Sequence[float], gap: Gapped, number: int, tokenizer: Any, count: int) -> list[Guess]:
    """The most probable tokens for one gap; probabilities are over all that the model knows."""
    row = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(row).all():
        raise PluginError("Some logits are not finite.", hints=["Run: registry verify MODEL --finite"])
    shifted = np.exp(row - row.max())
    probabilities = shifted / shifted.sum()
    order = np.argsort(-probabilities, kind="stable")[:count]
    return [_guess(int(token), float(probabilities[token]), gap, number, tokenizer) for token in order]


def _guess(token: int, probability: float, gap: Gapped, number: int, tokenizer: Any) -> Guess:
    known = token < len(tokenizer)
    name = tokenizer.convert_ids_to_tokens(token) if known else f"(id {token})"
    shown = name if name.startswith("##") or not known else tokenizer.decode([token]) or name
    return Guess(token=name, id=token, probability=round(probability, 8), text=gap.filled(number, shown))
