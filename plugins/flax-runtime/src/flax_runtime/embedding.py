"""FlaxSentenceEmbeddingModel: any backbone with sentence-transformers' pooling on top, and `encode` for plain text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self, overload

import jax
import jax.numpy as jnp
import numpy as np

from automodels.checkpoint.locate import Location, locate, split_options
from automodels.checkpoint.writer import SaveReport
from automodels.runtime.loading import again_if_saved
from automodels.runtime.sentences import (
    BATCH_TOKENS,
    MANY_BATCH_TOKENS,
    SentenceEncoding,
    check_batch_size,
    sentence_settings,
)
from flax_runtime.batching import batches
from flax_runtime.modeling import FlaxPreTrainedModel
from flax_runtime.outputs import FlaxSentenceEmbeddingOutput
from flax_runtime.parameters import Tree
from flax_runtime.pooling import pool


class FlaxSentenceEmbeddingModel(SentenceEncoding, FlaxPreTrainedModel):
    """A backbone whose result is one vector for each text; a family names its module, and inputs in `__call__`."""

    @overload
    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str] | Location, *, _do_init: Literal[False], **options: Any
    ) -> tuple[Self, Tree]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str] | Location, *, _do_init: Literal[True] = True, **options: Any
    ) -> Self: ...

    @classmethod
    @again_if_saved
    def from_pretrained(
        cls, name: str | os.PathLike[str] | Location, *, _do_init: bool = True, **options: Any
    ) -> Self | tuple[Self, Tree]:
        """The model in a sentence-transformers folder, or in a plain checkpoint (mean pooling, not normalised).

        Options and errors are those of `FlaxPreTrainedModel.from_pretrained`; UnsupportedConfigError when the folder
        asks for something that is not implemented.
        """
        where, options = split_options(options)
        location = locate(name, **where)
        settings = sentence_settings(location)
        loaded: Any = super().from_pretrained(location, **{**options, "_do_init": _do_init})
        model: Self = loaded if _do_init else loaded[0]
        model._come_from(location, settings)
        return model if _do_init else (model, loaded[1])

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], params: Mapping[str, Any] | None = None, **options: Any
    ) -> SaveReport | None:
        """As `FlaxPreTrainedModel.save_pretrained`, with the tokenizer and the sentence-transformers folder."""
        self._save_folders(save_directory, options)
        return super().save_pretrained(save_directory, params, **options)

    def encode(
        self,
        texts: Any,
        *,
        batch_size: int = 32,
        normalize_embeddings: bool | None = None,
        prompt: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Vectors of texts: [E] for a string, [len(texts), E] for a list of strings, float32.

        `batch_size` is the most texts in one batch; long texts get smaller ones. `normalize_embeddings` overrides the
        checkpoint's setting, `prompt` its default prompt, which is put before every text; `params` is any tree of the
        model's form (default: its own). Raises InputError for anything but strings, MissingDependencyError without the
        `text` extra.
        """
        if isinstance(texts, str):
            options: dict[str, Any] = {"normalize_embeddings": normalize_embeddings, "prompt": prompt, "params": params}
            vector: np.ndarray = self.encode([texts], batch_size=batch_size, **options)[0]
            return vector
        check_batch_size(batch_size)
        rows = self._ids(texts, prompt)
        normalize = self.settings.normalize if normalize_embeddings is None else normalize_embeddings
        found = batches(
            rows,
            limit=self.max_seq_length,
            batch_size=batch_size,
            tokens=BATCH_TOKENS.get(jax.default_backend(), MANY_BATCH_TOKENS),
            pad=self.tokenizer.pad_token_id or 0,
        )
        return self._collected(
            len(rows), found, lambda batch: self._vectors(batch.ids, batch.mask, normalize, params), np.asarray
        )

    def _vectors(
        self, ids: np.ndarray, mask: np.ndarray, normalize: bool, params: Mapping[str, Any] | None
    ) -> jax.Array:
        output = self.apply({"input_ids": ids, "attention_mask": mask}, params=params, normalize=normalize)
        vectors: jax.Array = output.embeddings
        return vectors

    def _forward(
        self,
        params: Mapping[str, Any],
        inputs: dict[str, Any],
        dropout_rng: jax.Array | None,
        *,
        flags: tuple[tuple[str, bool], ...],
    ) -> FlaxSentenceEmbeddingOutput:
        switches = dict(flags)
        normalize = switches.pop("normalize", self.settings.normalize)
        output = super()._forward(params, inputs, dropout_rng, flags=tuple(switches.items()))
        mask = inputs.get("attention_mask")
        if mask is None:
            mask = jnp.ones(inputs["input_ids"].shape, jnp.int32)
        vectors = pool(output.last_hidden_state, mask, self.settings.pooling, normalize=normalize)
        return FlaxSentenceEmbeddingOutput(
            embeddings=vectors[:, : self.settings.truncate_dim],
            last_hidden_state=output.last_hidden_state,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
