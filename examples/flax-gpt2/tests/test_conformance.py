"""What every model is expected to do, tested with the tiny model that `[model.example]` of the manifest describes."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax_runtime.testing import FlaxModelConformance


class GPT2Conformance(FlaxModelConformance):
    """What all classes have in common."""

    model_type = "gpt2"
    plugin = "flax-gpt2"
    padding = ("right", "left")
    cache = True

    def wrong_inputs(self, config: Any, inputs: Any) -> dict[str, dict[str, Any]]:
        """What is wrong → arguments of a call that must be refused with InputError."""
        ids = inputs["input_ids"]
        beyond = np.full_like(ids, config.max_position_embeddings)
        return {
            **super().wrong_inputs(config, inputs),
            "a position beyond the table": {**inputs, "position_ids": beyond},
            "a negative position": {**inputs, "position_ids": np.full_like(ids, -1)},
            "more tokens than positions": {"input_ids": np.ones((1, config.max_position_embeddings + 1), np.int32)},
        }


class TestGPT2Model(GPT2Conformance):
    task = "base"


class TestGPT2LMHeadModel(GPT2Conformance):
    task = "causal-lm"


class TestGPT2ForSequenceClassification(GPT2Conformance):
    task = "sequence-classification"
    cache = False  # it takes whole texts
