"""BatchEncoding: what a tokenizer returns; and how lists of different lengths become one rectangle."""

from __future__ import annotations

from typing import Any, Literal

from automodels.errors import InputError

Side = Literal["left", "right"]
Rows = list[list[int]]


class BatchEncoding(dict[str, Any]):
    """`input_ids`, `token_type_ids` and `attention_mask`, by key, by attribute, and as `model(**batch)`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"This BatchEncoding has {', '.join(self) or 'no entries'}, not {name!r}.") from None


def padded(rows: Rows, width: int, value: int, side: Side) -> Rows:
    """Rows filled up to `width` with `value`; longer ones stay as they are."""
    if side == "left":
        return [[value] * (width - len(row)) + row for row in rows]
    return [row + [value] * (width - len(row)) for row in rows]


def rounded_up(width: int, multiple: int | None) -> int:
    """The next multiple that is not below `width`."""
    return width if multiple is None else -(-width // multiple) * multiple


def stacked(rows: Rows) -> Any:
    """The rows as one int32 array [B, T]; raises InputError when their lengths differ."""
    import numpy as np

    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise InputError(
            f"The texts have {min(lengths)} to {max(lengths)} tokens, so they do not fit into one array.",
            hints=["Pass padding=True, and truncation=True where some are too long for the model."],
        )
    return np.asarray(rows, dtype=np.int32).reshape(len(rows), lengths.pop() if lengths else 0)
