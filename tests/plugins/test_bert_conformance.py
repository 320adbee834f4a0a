"""Every class of flax-bert passes the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

import flax_bert
from flax_bert import FlaxBertModel
from flax_runtime.testing import FlaxModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
SHALLOW = {**TINY, "num_hidden_layers": 1}  # for heads: what two layers do, the backbone shows
FIVE_LABELS = {**SHALLOW, "num_labels": 5}
UNTIED = {**SHALLOW, "tie_word_embeddings": False}
CROSS = {**SHALLOW, "is_decoder": True, "add_cross_attention": True, "cross_attention_hidden_size": 9}


class BertConformance(FlaxModelConformance):
    """What all classes of BERT have in common: the config, segments, and both kinds of padding."""

    fields = SHALLOW
    padding = ("right", "left")

    @pytest.fixture(autouse=True)
    def compile_quickly(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The backbone is compiled as users compile it; for the tasks above it, quick compilation is enough."""
        monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the other process
        optimized = self.tested is FlaxBertModel
        jax.config.update("jax_disable_most_optimizations", not optimized)
        yield
        jax.config.update("jax_disable_most_optimizations", False)

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
            "a position beyond the table": {
                **inputs, "position_ids": np.full_like(ids, config.max_position_embeddings)
            },
            "more tokens than positions": {"input_ids": many},
            "a mask of other heads": {**inputs, "head_mask": np.ones(config.num_attention_heads + 1, np.float32)},
        }  # fmt: skip


class TestBertModel(BertConformance):
    model_class = FlaxBertModel
    fields = TINY


class TestBertForSentenceEmbedding(BertConformance):
    model_type = "bert"
    task = "sentence-embedding"
    float32_outputs = ("embeddings",)


class TestBertForPreTraining(BertConformance):
    """Untied: the decoder has a matrix of its own."""

    model_class = flax_bert.FlaxBertForPreTraining
    fields = UNTIED
    first_token_outputs = ("seq_relationship_logits",)


class TestBertForMaskedLM(BertConformance):
    model_class = flax_bert.FlaxBertForMaskedLM


class TestBertForNextSentencePrediction(BertConformance):
    model_class = flax_bert.FlaxBertForNextSentencePrediction
    first_token_outputs = ("logits",)


class TestBertForSequenceClassification(BertConformance):
    model_class = flax_bert.FlaxBertForSequenceClassification
    fields = FIVE_LABELS
    first_token_outputs = ("logits",)


class TestBertForMultipleChoice(BertConformance):
    model_class = flax_bert.FlaxBertForMultipleChoice
    first_token_outputs = ("logits",)

    def example_inputs(self, config: Any) -> dict[str, Any]:
        return {
            name: np.stack([array, array[:, ::-1]], axis=1)
            for name, array in super().example_inputs(config).items()
        }  # fmt: skip


class TestBertForTokenClassification(BertConformance):
    model_class = flax_bert.FlaxBertForTokenClassification
    fields = FIVE_LABELS


class TestBertForQuestionAnswering(BertConformance):
    model_class = flax_bert.FlaxBertForQuestionAnswering


class TestBertForCausalLM(BertConformance):
    """A decoder that attends to an encoder of another width."""

    model_class = flax_bert.FlaxBertForCausalLM
    fields = CROSS
    cache = True
    generation = False

    def example_inputs(self, config: Any) -> dict[str, Any]:
        inputs = super().example_inputs(config)
        rows = len(inputs["input_ids"])
        states = np.random.default_rng(3).normal(size=(rows, 4, 9)).astype(np.float32)
        mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]], np.int32)
        return {**inputs, "encoder_hidden_states": states, "encoder_attention_mask": mask}
