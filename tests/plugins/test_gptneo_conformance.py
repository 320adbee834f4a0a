"""Every class of flax-gptneo passes the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from flax_gptneo import FlaxGPTNeoForCausalLM, FlaxGPTNeoModel
from flax_runtime.testing import FlaxModelConformance

TINY = dict(
    vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=16,
    attention_types=[(["global", "local"], 1)], window_size=3, embed_dropout=0.1, resid_dropout=0.1,
    attention_dropout=0.1,
)  # fmt: skip
UNTIED = {**TINY, "tie_word_embeddings": False, "attention_types": [(["local"], 2)], "window_size": 2}


class GPTNeoConformance(FlaxModelConformance):
    """What all classes of GPT-Neo have in common; with padding on the left, the suite gives positions, as it has to."""

    padding = ("right", "left")
    cache = True

    @pytest.fixture(autouse=True)
    def compile_quickly(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The causal language model is compiled as users compile it; for the others quick compilation is enough."""
        monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for the other process
        optimized = type(self) is TestGPTNeoForCausalLM
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
            "a negative position": {**inputs, "position_ids": np.full_like(ids, -1)},
            "more tokens than positions": {"input_ids": np.ones((1, config.max_position_embeddings + 1), np.int32)},
            "no cache": {**inputs, "past_key_values": {"keys": 1}},
        }  # fmt: skip


class TestGPTNeoModel(GPTNeoConformance):
    model_class = FlaxGPTNeoModel
    fields = TINY


class TestGPTNeoForCausalLM(GPTNeoConformance):
    model_class = FlaxGPTNeoForCausalLM
    fields = TINY


class TestGPTNeoForCausalLMUntied(GPTNeoConformance):
    """The head has a matrix of its own, and all blocks see the last two tokens."""

    model_class = FlaxGPTNeoForCausalLM
    fields = UNTIED
