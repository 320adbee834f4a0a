"""FlaxSentenceEmbeddingModel: any backbone with sentence-transformers' pooling on top, and `encode` for plain text."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, overload

import jax
import jax.numpy as jnp
import numpy as np

from automodels.checkpoint.locate import Location, locate, split_options
from automodels.checkpoint.writer import SaveReport
from automodels.errors import InputError, UnsupportedConfigError
from automodels.families.sentence_transformers import SentenceEmbeddingSettings, read_settings
from automodels.runtime.loading import again_if_saved
from automodels.text import AutoTokenizer
from automodels.text.files import fetch_tokenizer
from flax_runtime.batching import batches
from flax_runtime.folder import copy_folders, files_beside
from flax_runtime.modeling import FlaxPreTrainedModel
from flax_runtime.outputs import FlaxSentenceEmbeddingOutput
from flax_runtime.parameters import Tree
from flax_runtime.pooling import pool

BATCH_TOKENS = {"cpu": 2048}  # more does not run faster on two cores, and waits longer for the first result
MANY_BATCH_TOKENS = 1 << 16


class FlaxSentenceEmbeddingModel(FlaxPreTrainedModel):
    """A backbone whose result is one vector for each text; a family names its module, and inputs in `__call__`."""

    settings: SentenceEmbeddingSettings = SentenceEmbeddingSettings()
    """Pooling, normalisation, prompts and length limit, from the checkpoint's sentence-transformers folder."""

    _location: Location | None = None

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
        settings = read_settings(location)
        _refuse_unsupported(settings, location)
        loaded: Any = super().from_pretrained(location, **{**options, "_do_init": _do_init})
        model: Self = loaded if _do_init else loaded[0]
        width: int = model.config.hidden_size
        if settings.embedding_dimension not in (None, width):
            raise UnsupportedConfigError(
                f"{location.name}: pooling is for vectors of {settings.embedding_dimension}, the model has {width}."
            )
        model.settings = settings
        model._location = location
        return model if _do_init else (model, loaded[1])

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], params: Mapping[str, Any] | None = None, **options: Any
    ) -> SaveReport | None:
        """As `FlaxPreTrainedModel.save_pretrained`, with the tokenizer and the sentence-transformers folder."""
        if self._location is not None and options.get("is_main_process", True):
            copy_folders(self._location.directory, Path(save_directory))
        return super().save_pretrained(save_directory, params, **options)

    def _saved_files(self) -> dict[str, bytes]:
        if self._location is None:
            return {}
        fetch_tokenizer(self._location)
        return files_beside(self._location.directory)

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer. Raises MissingDependencyError without the `text` extra."""
        if self._location is None:
            raise InputError("This model was not loaded from a checkpoint, so it has no tokenizer; pass token ids.")
        tokenizer = AutoTokenizer.from_pretrained(self._location)
        return tokenizer.lowercased() if self.settings.do_lower_case else tokenizer

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text that are used; the rest is cut off."""
        positions: int = self.config.max_position_embeddings
        limit = self.settings.max_seq_length or self.tokenizer.model_max_length or positions
        return min(limit, positions)

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        width: int = self.config.hidden_size * len(self.settings.pooling)
        return min(width, self.settings.truncate_dim or width)

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
        if type(batch_size) is not int or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}, not a whole number above 0.")
        rows = self._ids(texts, self.settings.default_prompt if prompt is None else prompt)
        normalize = self.settings.normalize if normalize_embeddings is None else normalize_embeddings
        tokens = BATCH_TOKENS.get(jax.default_backend(), MANY_BATCH_TOKENS)
        pad = self.tokenizer.pad_token_id or 0
        # Every batch is started before the first result is waited for: padding the next one overlaps with computing.
        running = [
            (batch.texts, self._vectors(batch.ids, batch.mask, normalize, params))
            for batch in batches(rows, limit=self.max_seq_length, batch_size=batch_size, tokens=tokens, pad=pad)
        ]
        result = np.empty((len(rows), self.embedding_size), np.float32)
        for texts_of_batch, vectors in running:
            result[list(texts_of_batch)] = np.asarray(vectors)[: len(texts_of_batch)]
        return result

    def _ids(self, texts: Any, prompt: str) -> list[list[int]]:
        limit = self.max_seq_length
        rows: list[list[int]] = self.tokenizer.encode_ids(
            [prompt + text if isinstance(text, str) else text for text in texts] if prompt else texts, max_length=limit
        )
        return rows

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


def _refuse_unsupported(settings: SentenceEmbeddingSettings, location: Location) -> None:
    if settings.transformer:
        raise UnsupportedConfigError(
            f"{location.name} keeps its transformer in the folder {settings.transformer!r}, which is not implemented.",
            hints=["Move the folder's files beside modules.json."],
        )
    if not settings.include_prompt and settings.prompts:
        raise UnsupportedConfigError(f"{location.name} leaves prompts out of pooling, which is not implemented.")
