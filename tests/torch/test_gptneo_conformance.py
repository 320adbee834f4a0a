"""Every class that torch-heads offers for GPT-Neo passes the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np
from any_head_conformance import (
    BEAM,
    BeamQuestionAnsweringConformance,
    LastTokenConformance,
    SentenceEmbeddingConformance,
)

from torch_heads import GPTNeoForCausalLM, GPTNeoForSequenceClassification, GPTNeoModel
from torch_runtime.testing import TorchModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=16,
    attention_types=[(["global", "local"], 1)], window_size=3, embed_dropout=0.1, resid_dropout=0.1,
    attention_dropout=0.1,
)  # fmt: skip
UNTIED = {**TINY, "tie_word_embeddings": False, "attention_types": [(["local"], 2)], "window_size": 2}
SHALLOW = {**TINY, "num_layers": 1, "attention_types": [(["local"], 1)]}  # for heads: the backbone shows both kinds
FIVE_LABELS = {**SHALLOW, "num_labels": 5}
PADDED_LABELS = {**FIVE_LABELS, "pad_token_id": 0}
WITH_BEAM = {**SHALLOW, **BEAM}


class GPTNeoConformance(TorchModelConformance):
    """What all classes of GPT-Neo have in common; with padding on the left, the suite gives positions, as it has to."""

    padding = ("right", "left")

    def wrong_inputs(self, config: Any, inputs: Any) -> dict[str, dict[str, Any]]:
        ids = inputs["input_ids"]
        return {
            **super().wrong_inputs(config, inputs),
            "a position beyond the table": {
                **inputs, "position_ids": np.full_like(ids, config.max_position_embeddings)
            },
            "a negative position": {**inputs, "position_ids": np.full_like(ids, -1)},
            "more tokens than positions": {"input_ids": np.ones((1, config.max_position_embeddings + 1), np.int32)},
            "a mask of other heads": {**inputs, "head_mask": np.ones(config.num_heads + 1, np.float32)},
            "no cache": {**inputs, "past_key_values": {"keys": 1}},
        }  # fmt: skip


class TestGPTNeoModel(GPTNeoConformance):
    model_class = GPTNeoModel
    fields = TINY
    cache = True


class TestGPTNeoForCausalLM(GPTNeoConformance):
    model_class = GPTNeoForCausalLM
    fields = TINY
    cache = True


class TestGPTNeoForCausalLMUntied(GPTNeoConformance):
    """The head has a matrix of its own, and all blocks see the last two tokens."""

    model_class = GPTNeoForCausalLM
    fields = UNTIED
    cache = True


class TestGPTNeoForSequenceClassification(LastTokenConformance, GPTNeoConformance):
    model_class = GPTNeoForSequenceClassification
    fields = PADDED_LABELS


class TestGPTNeoForTokenClassification(GPTNeoConformance):
    model_type = "gpt_neo"
    task = "token-classification"
    fields = FIVE_LABELS


class TestGPTNeoForQuestionAnswering(GPTNeoConformance):
    model_type = "gpt_neo"
    task = "question-answering"
    fields = SHALLOW


class TestGPTNeoForBeamQuestionAnswering(BeamQuestionAnsweringConformance, GPTNeoConformance):
    model_type = "gpt_neo"
    fields = WITH_BEAM


class TestGPTNeoForSentenceEmbedding(SentenceEmbeddingConformance, GPTNeoConformance):
    model_type = "gpt_neo"
    fields = SHALLOW
