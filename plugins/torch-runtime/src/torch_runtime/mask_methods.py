"""Masks as transformers' models take them: numbers that are added to scores, and scales of heads.

Our own attention takes true and false (see `masks`); these are for networks that are written for the others.

Shapes: B batch, T query tokens, S key tokens, N heads, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from automodels.errors import InputError
from torch_runtime.facts import ModelFacts
from torch_runtime.masks import causal_mask


class MaskMethods(ModelFacts):
    """Masks in the type of a model's parameters."""

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """[B, 1, 1, S] from [B, S], [B, 1, T, S] from [B, T, S]: 0 where the mask is 1, the lowest number elsewhere.

        Raises InputError for a mask of other dimensions.
        """
        return _added(_with_heads("encoder_attention_mask", encoder_attention_mask), self.dtype)

    def get_extended_attention_mask(
        self, attention_mask: Tensor, input_shape: Sequence[int], dtype: torch.dtype | None = None
    ) -> Tensor:
        """As `invert_attention_mask`; for a decoder and a mask [B, S], [B, 1, T, S] that hides later tokens as well.

        `input_shape` is (B, T), T at most S: the query tokens are the last ones. The numbers are of `dtype` (default:
        the model's). Raises InputError for a mask of other dimensions.
        """
        dtype = self.dtype if dtype is None else dtype
        if attention_mask.dim() == 2 and self.config.is_decoder:
            return _added(self.create_extended_attention_mask_for_decoder(input_shape, attention_mask), dtype)
        return _added(_with_heads("attention_mask", attention_mask), dtype)

    @staticmethod
    def create_extended_attention_mask_for_decoder(input_shape: Sequence[int], attention_mask: Tensor) -> Tensor:
        """[B, 1, T, S] in the mask's type: 1 where a query may look, at tokens up to its own that are no padding.

        The T query tokens of `input_shape` (B, T) are the last of the mask's S. Raises InputError where they are more.
        """
        tokens, keys = input_shape[1], attention_mask.shape[-1]
        if tokens > keys:
            raise InputError(
                f"attention_mask has {keys} tokens, input_ids {tokens}; it must have past tokens and all of them."
            )
        seen = causal_mask(tokens, keys, attention_mask.device, keys - tokens)
        return seen.to(attention_mask.dtype) * attention_mask[:, None, None]

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """[L, 1, N, 1, 1] scales of heads from [N], for all layers, or [L, N]; one None a layer where there is no mask.

        `is_attention_chunked` adds an axis at the end. Raises InputError for a mask of other dimensions.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.dim() not in (1, 2) or (head_mask.dim() == 2 and head_mask.shape[0] != num_hidden_layers):
            raise InputError(f"head_mask has shape {list(head_mask.shape)}; it needs [N] or [{num_hidden_layers}, N].")
        scales = head_mask.expand(num_hidden_layers, -1)[:, None, :, None, None].to(self.dtype)
        return scales[..., None] if is_attention_chunked else scales


def _with_heads(name: str, mask: Tensor) -> Tensor:
    if mask.dim() not in (2, 3):
        raise InputError(f"{name} has shape {list(mask.shape)}; it needs [B, S] or [B, T, S].")
    return mask[:, None] if mask.dim() == 3 else mask[:, None, None]


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return (1.0 - mask.to(dtype)) * torch.finfo(dtype).min
