"""Heads and backbones in PyTorch. Names are imported when they are first used; the package alone imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.bert import BertConfig
    from torch_heads.bert import BertModel

_MODULES = {
    "BertConfig": "automodels.families.bert",
    "BertModel": "torch_heads.bert",
}

__all__ = ["BertConfig", "BertModel"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'torch_heads' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
