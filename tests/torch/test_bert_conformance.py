"""Every class that torch-heads offers for BERT passes the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np
from any_head_conformance import BEAM, BeamQuestionAnsweringConformance, SentenceEmbeddingConformance

import torch_heads
from torch_runtime.testing import TorchModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
SHALLOW = {**TINY, "num_hidden_layers": 1}  # for heads: what two layers do, the backbone shows
FIVE_LABELS = {**SHALLOW, "num_labels": 5}
UNTIED = {**SHALLOW, "tie_word_embeddings": False}
CROSS = {**SHALLOW, "is_decoder": True, "add_cross_attention": True, "cross_attention_hidden_size": 9}
WITH_BEAM = {**SHALLOW, **BEAM}


class BertConformance(TorchModelConformance):
    """What all classes of BERT have in common: the config, segments, and both kinds of padding."""

    fields = SHALLOW
    padding = ("right", "left")

    def example_inputs(self, config: Any) -> dict[str, Any]:
        inputs = super().example_inputs(config)
        segments = np.zeros_like(inputs["input_ids"])
        segments[..., 4:] = 1
        return {**inputs, "token_type_ids": segments}

    def wrong_inputs(self, config: Any, inputs: Any) -> dict[str, dict[str, Any]]:
        ids = inputs["input_ids"]
        many = np.ones((1, config.max_position_embeddings + 1), np.int32)
        return {
            **super().wrong_inputs(config, inputs),
            "a segment that there is not": {**inputs, "token_type_ids": np.full_like(ids, config.type_vocab_size)},
            "segments that are no whole numbers": {**inputs, "token_type_ids": np.zeros(ids.shape, np.float32)},
            "a position beyond the table": {
                **inputs, "position_ids": np.full_like(ids, config.max_position_embeddings)
            },
            "more tokens than positions": {"input_ids": many},
            "a mask of other heads": {**inputs, "head_mask": np.ones(config.num_attention_heads + 1, np.float32)},
        }  # fmt: skip


class TestBertModel(BertConformance):
    model_class = torch_heads.BertModel
    fields = TINY


class TestBertForSentenceEmbedding(SentenceEmbeddingConformance, BertConformance):
    model_type = "bert"


class TestBertForPreTraining(BertConformance):
    """Untied: the decoder has a matrix of its own."""

    model_class = torch_heads.BertForPreTraining
    fields = UNTIED
    first_token_outputs = ("seq_relationship_logits",)


class TestBertForMaskedLM(BertConformance):
    model_class = torch_heads.BertForMaskedLM


class TestBertForNextSentencePrediction(BertConformance):
    model_class = torch_heads.BertForNextSentencePrediction
    first_token_outputs = ("logits",)


class TestBertForSequenceClassification(BertConformance):
    model_class = torch_heads.BertForSequenceClassification
    fields = FIVE_LABELS
    first_token_outputs = ("logits",)


class TestBertForMultipleChoice(BertConformance):
    model_class = torch_heads.BertForMultipleChoice
    first_token_outputs = ("logits",)

    def example_inputs(self, config: Any) -> dict[str, Any]:
        return {
            name: np.stack([array, array[:, ::-1]], axis=1)
            for name, array in super().example_inputs(config).items()
        }  # fmt: skip


class TestBertForTokenClassification(BertConformance):
    model_class = torch_heads.BertForTokenClassification
    fields = FIVE_LABELS


class TestBertForQuestionAnswering(BertConformance):
    model_class = torch_heads.BertForQuestionAnswering


class TestBertForBeamQuestionAnswering(BeamQuestionAnsweringConformance, BertConformance):
    model_type = "bert"
    fields = WITH_BEAM


class TestBertLMHeadModel(BertConformance):
    """A decoder that attends to an encoder of another width."""

    model_class = torch_heads.BertLMHeadModel
    fields = CROSS
    cache = True
    generation = False

    def example_inputs(self, config: Any) -> dict[str, Any]:
        inputs = super().example_inputs(config)
        rows = len(inputs["input_ids"])
        states = np.random.default_rng(3).normal(size=(rows, 4, 9)).astype(np.float32)
        mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], np.int32)
        return {**inputs, "encoder_hidden_states": states, "encoder_attention_mask": mask}
