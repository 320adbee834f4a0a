"""What a model that gives one vector for each text does in every framework: settings, tokenizer, limits, batches."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from automodels.checkpoint.locate import Location
from automodels.errors import InputError, UnsupportedConfigError
from automodels.families.sentence_transformers import SentenceEmbeddingSettings, read_settings
from automodels.runtime.batching import Batch
from automodels.runtime.sentence_folder import copy_folders, files_beside
from automodels.text import AutoTokenizer
from automodels.text.files import fetch_tokenizer

BATCH_TOKENS = {"cpu": 2048}  # more does not run faster on two cores, and waits longer for the first result
MANY_BATCH_TOKENS = 1 << 16
ENDLESS = 1 << 30  # tokens, where neither settings nor tokenizer nor model have a limit


class SentenceEncoding:
    """The half of a sentence embedding model that knows texts; the other half computes vectors of token ids."""

    config: Any
    settings: SentenceEmbeddingSettings = SentenceEmbeddingSettings()
    """Pooling, normalisation, prompts and length limit, from the checkpoint's sentence-transformers folder."""

    _location: Location | None = None

    @property
    def token_width(self) -> int:
        """Length of a token's vector."""
        width: int = self.config.hidden_size
        return width

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
        positions: int = getattr(self.config, "max_position_embeddings", ENDLESS)
        limit = self.settings.max_seq_length or self.tokenizer.model_max_length or positions
        return min(limit, positions)

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        width = self.token_width * len(self.settings.pooling)
        return min(width, self.settings.truncate_dim or width)

    def _come_from(self, location: Location, settings: SentenceEmbeddingSettings) -> None:
        """Takes over settings; raises UnsupportedConfigError when they are for vectors of another length."""
        if settings.embedding_dimension not in (None, self.token_width):
            raise UnsupportedConfigError(
                f"{location.name}: pooling is for vectors of {settings.embedding_dimension}, the model has "
                f"{self.token_width}."
            )
        self.settings = settings
        self._location = location

    def _save_folders(self, directory: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
        """Copies what lies in folders of its own; `options` are those of `save_pretrained`."""
        if self._location is not None and options.get("is_main_process", True):
            copy_folders(self._location.directory, Path(directory))

    def _saved_files(self) -> dict[str, bytes]:
        if self._location is None:
            return {}
        fetch_tokenizer(self._location)
        return files_beside(self._location.directory)

    def _ids(self, texts: Any, prompt: str | None) -> list[list[int]]:
        """Token ids of every text behind its prompt (default: the settings'); InputError for anything but strings."""
        before = self.settings.default_prompt if prompt is None else prompt
        prompted = [before + text if isinstance(text, str) else text for text in texts] if before else texts
        rows: list[list[int]] = self.tokenizer.encode_ids(prompted, max_length=self.max_seq_length)
        return rows

    def _collected(
        self, count: int, batches: Iterable[Batch], compute: Callable[[Batch], Any], fetch: Callable[[Any], np.ndarray]
    ) -> np.ndarray:
        """[count, E] float32: what `compute` starts for each batch and `fetch` waits for."""
        # Every batch is started before the first result is waited for: padding the next one overlaps with computing.
        running = [(batch.texts, compute(batch)) for batch in batches]
        result = np.empty((count, self.embedding_size), np.float32)
        for texts, vectors in running:
            result[list(texts)] = fetch(vectors)[: len(texts)]
        return result


def sentence_settings(location: Location) -> SentenceEmbeddingSettings:
    """The settings of a checkpoint; raises UnsupportedConfigError for those that no model here follows."""
    settings = read_settings(location)
    if settings.transformer:
        raise UnsupportedConfigError(
            f"{location.name} keeps its transformer in the folder {settings.transformer!r}, which is not implemented.",
            hints=["Move the folder's files beside modules.json."],
        )
    if not settings.include_prompt and settings.prompts:
        raise UnsupportedConfigError(f"{location.name} leaves prompts out of pooling, which is not implemented.")
    return settings


def check_batch_size(batch_size: Any) -> None:
    """Raises InputError for anything but a whole number above 0."""
    if type(batch_size) is not int or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}, not a whole number above 0.")
