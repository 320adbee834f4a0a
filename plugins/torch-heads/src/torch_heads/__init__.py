"""Heads and backbones in PyTorch. Names are imported when they are first used; the package alone imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.bert import BertConfig
    from automodels.families.gpt_neo import GPTNeoConfig
    from automodels.families.opt import OPTConfig
    from torch_heads.bert import BertModel
    from torch_heads.bert_classifiers import (
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
    )
    from torch_heads.bert_heads import BertForMaskedLM, BertForPreTraining, BertLMHeadModel
    from torch_heads.gpt_neo import GPTNeoForCausalLM, GPTNeoModel
    from torch_heads.gpt_neo_tasks import (
        GPTNeoForQuestionAnswering,
        GPTNeoForSequenceClassification,
        GPTNeoForTokenClassification,
    )
    from torch_heads.opt import OPTForCausalLM, OPTModel
    from torch_heads.opt_tasks import OPTForQuestionAnswering, OPTForSequenceClassification
    from torch_heads.sentence import BackboneForSentenceEmbedding, SentenceEmbeddingOutput
    from torch_heads.squad import PoolerAnswerClass, PoolerEndLogits, PoolerStartLogits, SQuADHead, SquadHeadOutput
    from torch_heads.summary import SequenceSummary
    from torch_heads.tasks import (
        BackboneForBeamQuestionAnswering,
        BackboneForMultipleChoice,
        BackboneForQuestionAnswering,
        BackboneForSequenceClassification,
        BackboneForTokenClassification,
        BeamQuestionAnsweringOutput,
    )

_MODULES = {
    "BackboneForBeamQuestionAnswering": "torch_heads.tasks",
    "BackboneForMultipleChoice": "torch_heads.tasks",
    "BackboneForQuestionAnswering": "torch_heads.tasks",
    "BackboneForSentenceEmbedding": "torch_heads.sentence",
    "BackboneForSequenceClassification": "torch_heads.tasks",
    "BackboneForTokenClassification": "torch_heads.tasks",
    "BeamQuestionAnsweringOutput": "torch_heads.tasks",
    "BertConfig": "automodels.families.bert",
    "BertForMaskedLM": "torch_heads.bert_heads",
    "BertForMultipleChoice": "torch_heads.bert_classifiers",
    "BertForNextSentencePrediction": "torch_heads.bert_classifiers",
    "BertForPreTraining": "torch_heads.bert_heads",
    "BertForQuestionAnswering": "torch_heads.bert_classifiers",
    "BertForSequenceClassification": "torch_heads.bert_classifiers",
    "BertForTokenClassification": "torch_heads.bert_classifiers",
    "BertLMHeadModel": "torch_heads.bert_heads",
    "BertModel": "torch_heads.bert",
    "GPTNeoConfig": "automodels.families.gpt_neo",
    "GPTNeoForCausalLM": "torch_heads.gpt_neo",
    "GPTNeoForQuestionAnswering": "torch_heads.gpt_neo_tasks",
    "GPTNeoForSequenceClassification": "torch_heads.gpt_neo_tasks",
    "GPTNeoForTokenClassification": "torch_heads.gpt_neo_tasks",
    "GPTNeoModel": "torch_heads.gpt_neo",
    "OPTConfig": "automodels.families.opt",
    "OPTForCausalLM": "torch_heads.opt",
    "OPTForQuestionAnswering": "torch_heads.opt_tasks",
    "OPTForSequenceClassification": "torch_heads.opt_tasks",
    "OPTModel": "torch_heads.opt",
    "PoolerAnswerClass": "torch_heads.squad",
    "PoolerEndLogits": "torch_heads.squad",
    "PoolerStartLogits": "torch_heads.squad",
    "SQuADHead": "torch_heads.squad",
    "SentenceEmbeddingOutput": "torch_heads.sentence",
    "SequenceSummary": "torch_heads.summary",
    "SquadHeadOutput": "torch_heads.squad",
}

__all__ = [
    "BackboneForBeamQuestionAnswering",
    "BackboneForMultipleChoice",
    "BackboneForQuestionAnswering",
    "BackboneForSentenceEmbedding",
    "BackboneForSequenceClassification",
    "BackboneForTokenClassification",
    "BeamQuestionAnsweringOutput",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertLMHeadModel",
    "BertModel",
    "GPTNeoConfig",
    "GPTNeoForCausalLM",
    "GPTNeoForQuestionAnswering",
    "GPTNeoForSequenceClassification",
    "GPTNeoForTokenClassification",
    "GPTNeoModel",
    "OPTConfig",
    "OPTForCausalLM",
    "OPTForQuestionAnswering",
    "OPTForSequenceClassification",
    "OPTModel",
    "PoolerAnswerClass",
    "PoolerEndLogits",
    "PoolerStartLogits",
    "SQuADHead",
    "SentenceEmbeddingOutput",
    "SequenceSummary",
    "SquadHeadOutput",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'torch_heads' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
