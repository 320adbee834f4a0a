"""Every class of flax-opt passes the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from flax_opt import FlaxOPTForCausalLM, FlaxOPTModel
from flax_runtime.testing import FlaxModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, ffn_dim=20, max_position_embeddings=16,
    pad_token_id=1, dropout=0.1, attention_dropout=0.1, layerdrop=0.1,
    activation_function="gelu",  # smooth: at relu's corners a difference quotient is no derivative
)  # fmt: skip
POST = {**TINY, "do_layer_norm_before": False, "word_embed_proj_dim": 7}
UNTIED = {**POST, "tie_word_embeddings": False}
WIDTHS = {
    "test_hidden_states_are_those_of_every_layer": "the last one is as wide as token embeddings, as in the reference"
}
BARE = {**TINY, "enable_bias": False, "layer_norm_elementwise_affine": False, "_remove_final_layer_norm": True}


class OPTConformance(FlaxModelConformance):
    """What all classes of OPT have in common: positions that count what the mask keeps, on either side."""

    padding = ("right", "left")
    cache = True

    @pytest.fixture(autouse=True)
    def compile_quickly(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The causal language model is compiled as users compile it; for the others quick compilation is enough."""
        monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the other process
        optimized = type(self) is TestOPTForCausalLM
        jax.config.update("jax_disable_most_optimizations", not optimized)
        yield
        jax.config.update("jax_disable_most_optimizations", False)

    def wrong_inputs(self, config: Any, inputs: Any) -> dict[str, dict[str, Any]]:
        ids = inputs["input_ids"]
        return {
            **super().wrong_inputs(config, inputs),
            "a position beyond the table": {
                **inputs, "position_ids": np.full_like(ids, config.max_position_embeddings)
            },
            "a position before that of padding": {**inputs, "position_ids": np.full_like(ids, -2)},
            "more tokens than positions": {"input_ids": np.ones((1, config.max_position_embeddings + 1), np.int32)},
            "no cache": {**inputs, "past_key_values": {"keys": 1}},
        }  # fmt: skip


class TestOPTModel(OPTConformance):
    model_class = FlaxOPTModel
    fields = TINY


class TestOPTForCausalLM(OPTConformance):
    model_class = FlaxOPTForCausalLM
    fields = TINY


class TestOPTForCausalLMAs350m(OPTConformance):
    """Normalised after each residual sum, with narrower token embeddings and a head of its own."""

    model_class = FlaxOPTForCausalLM
    fields = UNTIED
    expected_failures = WIDTHS


class TestOPTForCausalLMBare(OPTConformance):
    """Without biases, without weights of layer normalisation, without normalisation at the end."""

    model_class = FlaxOPTForCausalLM
    fields = BARE
