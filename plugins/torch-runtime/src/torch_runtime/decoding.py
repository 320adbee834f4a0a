"""What decoders share: the masks of a call, and which of its states a head is asked about.

Shapes: B batch, T query tokens, S key tokens, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from automodels.errors import InputError
from torch_runtime.attend import Attend
from torch_runtime.masks import causal_mask, combined, padding_mask


def causal_call(
    attend: Attend, attention_mask: Tensor | None, tokens: int, past: int, device: torch.device
) -> tuple[Tensor | None, bool]:
    """The mask of a call of T tokens behind `past` ones, and whether causality alone stands in for it.

    `attention_mask` is checked, and None where nothing is padding; [B, T, S] says for each query what it sees, and
    nothing else is asked. Kernels are quickest without a mask: one new token sees all before it, and without a past
    causality is something that many know. For others, the mask is made here, once for all layers.
    """
    padding = None if attention_mask is None else padding_mask(attention_mask)
    if attention_mask is not None and attention_mask.dim() == 3:
        return padding, False
    if past == 0 and tokens > 1 and attend.knows_causality(padding):
        return None, True
    causal = causal_mask(tokens, past + tokens, device, past) if tokens > 1 else None
    return combined(padding, causal), False


def kept_states(x: Tensor, keep: int | Tensor) -> Tensor:
    """[B, K, D] the last `keep` of the states [B, T, D], or those at its places [K]; all of them for 0.

    Raises InputError for a negative number.
    """
    if isinstance(keep, Tensor):
        return x[:, keep]
    if keep < 0:
        raise InputError(f"logits_to_keep is {keep}; 0 keeps all, and n the last n.")
    return x[:, -keep:] if keep else x
