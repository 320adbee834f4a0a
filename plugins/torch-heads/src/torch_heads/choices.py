"""Multiple choice: inputs with an axis of choices, which a backbone reads as so many more rows.

Shapes: B batch, C choices.
"""

from __future__ import annotations

from torch import Tensor

from automodels.errors import InputError

PER_CHOICE = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
"""Inputs that have the axis."""


def per_choice(name: str, given: Tensor | None) -> Tensor | None:
    """[B · C, …] from [B, C, …]; raises InputError for another number of axes."""
    if given is None:
        return None
    rank = 4 if name == "inputs_embeds" else 3
    if given.dim() != rank:
        axes = "[batch, choices, tokens" + (", width]" if rank == 4 else "]")
        raise InputError(f"{name} has shape {list(given.shape)}; a multiple choice needs {axes}.")
    return given.flatten(0, 1)
