"""BERT in Flax. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.bert import BertConfig
    from flax_bert.embedding import FlaxBertForSentenceEmbedding
    from flax_bert.modeling import FlaxBertModel

__all__ = ["BertConfig", "FlaxBertForSentenceEmbedding", "FlaxBertModel"]


def __getattr__(name: str) -> Any:
    if name == "BertConfig":
        from automodels.families.bert import BertConfig

        return BertConfig
    if name == "FlaxBertModel":
        from flax_bert.modeling import FlaxBertModel

        return FlaxBertModel
    if name == "FlaxBertForSentenceEmbedding":
        from flax_bert.embedding import FlaxBertForSentenceEmbedding

        return FlaxBertForSentenceEmbedding
    raise AttributeError(f"module 'flax_bert' has no attribute {name!r}")
