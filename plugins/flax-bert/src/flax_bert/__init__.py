"""BERT in Flax. Names are imported when they are first used: reading the manifest or the key map imports no Flax."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.bert import BertConfig
    from flax_bert.modeling import FlaxBertForSentenceEmbedding, FlaxBertModel, FlaxBertPreTrainedModel

__all__ = ["BertConfig", "FlaxBertForSentenceEmbedding", "FlaxBertModel", "FlaxBertPreTrainedModel"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_bert' has no attribute {name!r}")
    module = "automodels.families.bert" if name == "BertConfig" else "flax_bert.modeling"
    return getattr(importlib.import_module(module), name)
