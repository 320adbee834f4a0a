"""Rows of tables of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rows(table: nn.Embedding, start: int, stop: int, device: torch.device) -> Tensor:
    """[stop - start, D] neighbouring rows, without a look-up where the table is in memory."""
    if table.weight.is_meta:  # it may be brought here for as long as the table is called
        found: Tensor = table(torch.arange(start, stop, device=device))
        return found
    return table.weight[start:stop]
