"""Checks of a BERT's inputs, made before the compiled program sees them: inside it, a wrong id reads a wrong row."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from automodels.errors import InputError
from automodels.families.bert import BertConfig


def checked_inputs(
    config: BertConfig, input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any
) -> dict[str, Any]:
    """The inputs that are given, as [B, T] arrays; raises InputError when one does not fit.

    Values are checked where they are known: traced arrays (inside jit, grad, vmap) pass.
    """
    given = {
        "input_ids": (input_ids, config.vocab_size),
        "attention_mask": (attention_mask, None),
        "token_type_ids": (token_type_ids, config.type_vocab_size),
        "position_ids": (position_ids, config.max_position_embeddings),
    }
    arrays = {name: _table(name, value) for name, (value, _) in given.items() if value is not None}
    shape = arrays["input_ids"].shape
    if shape[1] > config.max_position_embeddings:
        raise InputError(
            f"input_ids has {shape[1]} tokens; the model has positions for {config.max_position_embeddings}.",
            hints=["Truncate the text, for example with tokenizer(…, truncation=True)."],
        )
    for name, array in arrays.items():
        if array.shape != shape:
            raise InputError(f"{name} has shape {list(array.shape)}, input_ids {list(shape)}.")
        if (rows := given[name][1]) is not None:
            _check_range(name, array, rows)
    return arrays


def _table(name: str, value: Any) -> Any:
    array = value if isinstance(value, jax.Array) else np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} has shape {list(array.shape)}; it needs [batch, tokens], both at least 1.")
    if array.dtype != bool and not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(f"{name} holds {array.dtype.name}, not whole numbers.")
    return array if isinstance(array, jax.Array) else array.astype(np.int32)


def _check_range(name: str, array: Any, rows: int) -> None:
    if isinstance(array, jax.core.Tracer):
        return
    known = np.asarray(array)  # jax's own minimum would be traced, inside jit, even of an array that is known
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= rows:
        raise InputError(
            f"{name} has the value {low if low < 0 else high}; the model's table has rows 0 to {rows - 1}."
        )
