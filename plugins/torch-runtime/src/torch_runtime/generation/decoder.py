"""The model's calls while it generates: the prompt first, then one token at a time.

Shapes: B prompts, R rows (several for each prompt), P columns of the prompt, S columns that are written, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from automodels.arguments import parameters
from torch_runtime.cache import KVCache
from torch_runtime.generation.rows import Rows


class Decoder:
    """Logits of the next token, and the cache that makes them cheap."""

    def __init__(
        self, model: Any, rows: Rows, *, vocab_size: int, use_cache: bool, step: Callable[..., Any] | None = None
    ) -> None:
        """Nothing is computed yet. `step` stands in for the model in calls of one token."""
        self._model = model
        self._step = step or model
        self.vocab_size = vocab_size
        self._rows = rows
        self._cache = KVCache(max_length=rows.slots) if use_cache else None
        self._options: dict[str, Any] = {"use_cache": use_cache, "return_dict": True}
        # Of a prompt, only the last token's scores are asked for.
        if "logits_to_keep" in parameters(type(model).forward):
            self._options["logits_to_keep"] = 1

    def first(self, copies: int) -> Tensor:
        """[R, V] behind the prompts; from here on each has `copies` rows."""
        logits = self._logits(self._model, self._rows.ids, 0)
        if copies > 1:
            self._rows = self._rows.repeated(copies)
            logits = logits.repeat_interleave(copies, dim=0)
            if self._cache is not None:
                self._cache.repeat(copies)
        return logits

    def next(self, tokens: Tensor) -> Tensor:
        """[R, V] behind all tokens so far, [R, S]; the last ones are those that the model has not seen."""
        if self._cache is None:
            return self._logits(self._model, tokens, 0)
        # A copy: compiled code would look at where in the memory of all tokens the last ones lie.
        return self._logits(self._step, tokens[:, -1:].clone(), tokens.shape[1] - 1)

    def reorder(self, rows: Tensor) -> None:
        """In place of each row what another one [R] has behind the prompt, which they have in common."""
        if self._cache is not None:
            self._cache.reorder(rows, start=self._rows.columns)

    def _logits(self, call: Callable[..., Any], ids: Tensor, start: int) -> Tensor:
        given: dict[str, Any] = {}
        if self._rows.real is not None:
            mask = self._rows.real[:, : start + ids.shape[1]]
            # Padding before a text has no position.
            positions = (
                (mask.cumsum(1) - 1).clamp(min=0)
                if start == 0
                else self._rows.prompt[:, None] + (start - self._rows.columns)
            )
            given = {"attention_mask": mask, "position_ids": positions}
        elif self._cache is None:
            given = {"attention_mask": torch.ones_like(ids)}  # says that what looks like padding is not taken for text
        output = call(input_ids=ids, past_key_values=self._cache, **given, **self._options)
        logits: Tensor = output.logits[:, -1]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
