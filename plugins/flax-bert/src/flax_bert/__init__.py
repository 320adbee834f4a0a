"""BERT in Flax. Names are imported when they are first used: reading the manifest or the key map imports no Flax."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.bert import BertConfig
    from flax_bert.heads import FlaxBertForPreTrainingOutput
    from flax_bert.modeling import (
        FlaxBertForCausalLM,
        FlaxBertForMaskedLM,
        FlaxBertForMultipleChoice,
        FlaxBertForNextSentencePrediction,
        FlaxBertForPreTraining,
        FlaxBertForQuestionAnswering,
        FlaxBertForSentenceEmbedding,
        FlaxBertForSequenceClassification,
        FlaxBertForTokenClassification,
        FlaxBertModel,
        FlaxBertPreTrainedModel,
    )

__all__ = [
    "BertConfig",
    "FlaxBertForCausalLM",
    "FlaxBertForMaskedLM",
    "FlaxBertForMultipleChoice",
    "FlaxBertForNextSentencePrediction",
    "FlaxBertForPreTraining",
    "FlaxBertForPreTrainingOutput",
    "FlaxBertForQuestionAnswering",
    "FlaxBertForSentenceEmbedding",
    "FlaxBertForSequenceClassification",
    "FlaxBertForTokenClassification",
    "FlaxBertModel",
    "FlaxBertPreTrainedModel",
]
_ELSEWHERE = {"BertConfig": "automodels.families.bert", "FlaxBertForPreTrainingOutput": "flax_bert.heads"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_bert' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "flax_bert.modeling")), name)
