"""What the suites of all families declare for tasks that stand on any backbone."""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_runtime.testing import TorchModelConformance

BEAM = {"start_n_top": 3, "end_n_top": 2}
FULL = {"float32": 1e-5}


class BeamQuestionAnsweringConformance(TorchModelConformance):
    """Answers by beam search. With padding on the left, places are others; in half types, answers may be.

    The class token is the first one, and in no answer.
    """

    task = "beam-question-answering"
    padding = ("right",)
    tolerances = FULL
    index_outputs = ("start_top_index", "end_top_index")

    def example_inputs(self, config: Any) -> dict[str, Any]:
        inputs = super().example_inputs(config)
        ids = inputs["input_ids"]
        outside = np.zeros_like(ids)
        outside[:, 0] = 1
        return {**inputs, "p_mask": outside, "cls_index": np.zeros(len(ids), ids.dtype)}

    def padded(self, inputs: Any, side: str, config: Any) -> dict[str, Any]:
        """Padding is in no answer; the caller says so."""
        padded = super().padded(inputs, side, config)
        added = padded["input_ids"].shape[1] - inputs["p_mask"].shape[1]
        return {**padded, "p_mask": np.pad(inputs["p_mask"], ((0, 0), (0, added)), constant_values=1)}


class SentenceEmbeddingConformance(TorchModelConformance):
    """Sentence embedding. A checkpoint is one of the backbone alone, so its tensors have no prefix."""

    task = "sentence-embedding"
    float32_outputs = ("embeddings",)

    def tensor_of(self, model: Any, parameter: str) -> Any:
        found = super().tensor_of(model, parameter)
        return None if found is None else (found[0].removeprefix(model.keymap.prefix), found[1])


class LastTokenConformance(TorchModelConformance):
    """A decoder's class for a sequence is read off its last token that is not the padding token."""

    first_token_outputs = ()

    def padded(self, inputs: Any, side: str, config: Any) -> dict[str, Any]:
        """Padding that consists of the padding token, by which the model knows it."""
        padded = super().padded(inputs, side, config)
        ids = np.where(padded["attention_mask"] == 0, config.pad_token_id, padded["input_ids"])
        return {**padded, "input_ids": ids}
