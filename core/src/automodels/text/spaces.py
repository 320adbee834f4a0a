"""English texts without the spaces that tokenizing by words leaves before punctuation and short forms."""

from __future__ import annotations

_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Replaced one after another, as in transformers: the order matters where they overlap."""


def cleaned_up(text: str) -> str:
    """The text with these spaces removed."""
    for spaced in _SPACED:
        text = text.replace(spaced, spaced.strip())
    return text
