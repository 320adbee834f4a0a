"""Attention heads that are left out for good (Michel et al. 2019, https://arxiv.org/abs/1905.10650)."""

from __future__ import annotations

from typing import Any


def kept_heads(config: Any, layer: int) -> list[int]:
    """Numbers of the heads of a layer that the config's `pruned_heads` leaves."""
    gone = set(config.pruned_heads.get(layer, ()))
    return [head for head in range(config.num_attention_heads) if head not in gone]
