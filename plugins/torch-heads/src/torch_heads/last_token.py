"""The last token of a sequence, which in a decoder has seen all others.

Shapes: B batch, T tokens, D width of states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automodels.errors import InputError


def at_last_token(
    states: Tensor, input_ids: Tensor | None, attention_mask: Tensor | None, pad_token_id: int | None
) -> Tensor:
    """[B, D] of states [B, T, D] those of each last token that is not the padding token, wherever padding stands.

    Where there are no ids, the last token that the mask keeps. Raises InputError for several sequences of ids without
    a padding token.
    """
    rows = torch.arange(len(states), device=states.device)
    if input_ids is None:
        places = last_tokens(attention_mask)
        return states[:, -1] if places is None else states[rows, places.to(states.device)]
    if pad_token_id is None:
        if len(states) > 1:
            raise InputError(
                f"Of {len(states)} sequences it is not known where they end: the config has no pad_token_id.",
                hints=["Set config.pad_token_id, or pass one sequence at a time."],
            )
        return states[:, -1]
    # A sequence of padding alone has the place 0, as in transformers.
    places = torch.arange(input_ids.shape[1], device=input_ids.device) * (input_ids != pad_token_id)
    return states[rows, places.argmax(dim=1).to(states.device)]


def last_tokens(attention_mask: Tensor | None) -> Tensor | None:
    """[B] place of the last token that a mask [B, T] keeps; None, which is the last one, for any other mask."""
    if attention_mask is None or attention_mask.dim() != 2:
        return None
    return attention_mask.shape[1] - 1 - (attention_mask != 0).flip(1).int().argmax(1)
