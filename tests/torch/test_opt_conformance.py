"""Every class that torch-heads offers for OPT passes the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np
from any_head_conformance import (
    BEAM,
    BeamQuestionAnsweringConformance,
    LastTokenConformance,
    SentenceEmbeddingConformance,
)

from torch_heads import OPTForCausalLM, OPTForSequenceClassification, OPTModel
from torch_runtime.testing import TorchModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, ffn_dim=20, max_position_embeddings=16,
    pad_token_id=0,  # not among the examples: its row gets no gradient, in training it stays as it is
    dropout=0.1, attention_dropout=0.1, layerdrop=0.1,
    activation_function="gelu",  # smooth: at relu's corners a difference quotient is no derivative
)  # fmt: skip
SHALLOW = {**TINY, "num_hidden_layers": 1, "layerdrop": 0.0}  # for heads: what two layers do, the backbone shows
FIVE_LABELS = {**SHALLOW, "num_labels": 5}
WITH_BEAM = {**SHALLOW, **BEAM}
POST = {**TINY, "do_layer_norm_before": False, "word_embed_proj_dim": 7}
UNTIED = {**POST, "tie_word_embeddings": False}
WIDTHS = {
    "test_hidden_states_are_those_of_every_layer": "the last one is as wide as token embeddings, as in the reference"
}
BARE = {**TINY, "enable_bias": False, "layer_norm_elementwise_affine": False, "_remove_final_layer_norm": True}


class OPTConformance(TorchModelConformance):
    """What all classes of OPT have in common: positions that count what the mask keeps, on either side."""

    padding = ("right", "left")

    def wrong_inputs(self, config: Any, inputs: Any) -> dict[str, dict[str, Any]]:
        ids = inputs["input_ids"]
        return {
            **super().wrong_inputs(config, inputs),
            "a position beyond the table": {
                **inputs, "position_ids": np.full_like(ids, config.max_position_embeddings)
            },
            "a position before that of padding": {**inputs, "position_ids": np.full_like(ids, -2)},
            "more tokens than positions": {"input_ids": np.ones((1, config.max_position_embeddings + 1), np.int32)},
            "a mask of other heads": {**inputs, "head_mask": np.ones(config.num_attention_heads + 1, np.float32)},
            "no cache": {**inputs, "past_key_values": {"keys": 1}},
        }  # fmt: skip


class TestOPTModel(OPTConformance):
    model_class = OPTModel
    fields = TINY
    cache = True


class TestOPTForCausalLM(OPTConformance):
    model_class = OPTForCausalLM
    fields = TINY
    cache = True


class TestOPTForCausalLMAs350m(OPTConformance):
    """Normalised after each residual sum, with narrower token embeddings and a head of its own."""

    model_class = OPTForCausalLM
    fields = UNTIED
    cache = True
    expected_failures = WIDTHS


class TestOPTForCausalLMBare(OPTConformance):
    """Without biases, without weights of layer normalisation, without normalisation at the end."""

    model_class = OPTForCausalLM
    fields = BARE
    cache = True


class TestOPTForSequenceClassification(LastTokenConformance, OPTConformance):
    model_class = OPTForSequenceClassification
    fields = FIVE_LABELS


class TestOPTForSequenceClassificationAs350m(LastTokenConformance, OPTConformance):
    """On states as wide as the token embeddings."""

    model_class = OPTForSequenceClassification
    fields = POST
    expected_failures = WIDTHS


class TestOPTForQuestionAnswering(OPTConformance):
    model_type = "opt"
    task = "question-answering"
    fields = SHALLOW


class TestOPTForBeamQuestionAnswering(BeamQuestionAnsweringConformance, OPTConformance):
    model_type = "opt"
    fields = WITH_BEAM


class TestOPTForSentenceEmbedding(SentenceEmbeddingConformance, OPTConformance):
    model_type = "opt"
    fields = SHALLOW
