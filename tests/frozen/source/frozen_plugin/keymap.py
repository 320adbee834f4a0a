"""Tensors, which bear the names of the PyTorch model, and parameters of the Flax model."""

from __future__ import annotations

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap

KEYMAP = KeyMap(
    ("words.weight", "words.embedding", SAME),
    ("places.weight", "places.embedding", SAME),
    ("layers.{i}.norm.weight", "layers.{i}.norm.scale", SAME),
    ("layers.{i}.norm.bias", "layers.{i}.norm.bias", SAME),
    ("layers.{i}.qkv.weight", "layers.{i}.qkv.kernel", TRANSPOSED),
    ("layers.{i}.out.weight", "layers.{i}.out.kernel", TRANSPOSED),
    ("layers.{i}.wide.weight", "layers.{i}.wide.kernel", TRANSPOSED),
    ("layers.{i}.wide.bias", "layers.{i}.wide.bias", SAME),
    ("layers.{i}.narrow.weight", "layers.{i}.narrow.kernel", TRANSPOSED),
    ("head.weight", "head.kernel", TRANSPOSED),
    prefix="body.",
    older=((".gamma", ".weight"),),
    buffers=("layers.{i}.mask",),
)
