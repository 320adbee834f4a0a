"""What a decoder's calls are given, step by step: the prompt first, then one token at a time.

Shapes: B batch, T tokens of the prompt, S tokens that the cache can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.runtime.generation_files import WithGenerationConfig
from automodels.runtime.numbers import positive
from flax_runtime.cache import KVCache


class DecoderMethods(WithGenerationConfig):
    """What generation asks of a model; only a class that `generates` is asked."""

    dtype: np.dtype
    _config: PretrainedConfig

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the class predicts the next token."""
        return cls.generates

    def _check_generates(self) -> None:
        """Raises InputError when the model cannot generate; for a family to extend."""
        if not self.generates:
            raise InputError(
                f"{type(self).__name__} does not predict the next token, so it cannot generate text.",
                hints=["Load the checkpoint with AutoModelForCausalLM."],
            )

    def init_cache(self, batch_size: int, max_length: int) -> KVCache:
        """An empty cache for `batch_size` texts of at most `max_length` tokens, in the type of the computation.

        Raises InputError for sizes below 1, or more tokens than the model has positions for.
        """
        config = self._config
        batch_size, max_length = positive("batch_size", batch_size), positive("max_length", max_length)
        positions = getattr(config, "max_position_embeddings", max_length)
        if max_length > positions:
            raise InputError(f"max_length is {max_length}; the model has positions for {positions}.")
        return self._new_cache(batch_size, max_length)

    def prepare_inputs_for_generation(
        self, input_ids: Int[Array, "B T"], max_length: int, attention_mask: Int[Array, "B T"] | None = None
    ) -> dict[str, Any]:
        """The arguments beside `input_ids` of the first call, for a prompt.

        `past_key_values` is an empty cache; `attention_mask` [B, S] is over the whole of it, with ones beyond the
        prompt: causality hides what is not written yet. `position_ids` [B, T] count the tokens that the mask keeps, so
        that padding on the left does not shift a text. Raises InputError when the prompt is longer than `max_length`.
        """
        shape = np.shape(input_ids)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"input_ids has shape {list(shape)}; a prompt is [batch, tokens], both at least 1.")
        batch, tokens = shape
        if tokens > max_length:
            raise InputError(f"The prompt has {tokens} tokens; max_length={max_length} leaves no room for it.")
        mask = jnp.ones(shape, jnp.int32) if attention_mask is None else jnp.asarray(attention_mask).astype(jnp.int32)
        if mask.shape != shape:
            raise InputError(f"attention_mask has shape {list(mask.shape)}, input_ids {list(shape)}.")
        return self._first_inputs(mask, self.init_cache(batch, max_length))

    def update_inputs_for_generation(self, model_outputs: Any, model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of the next call, for one token: the new cache, and the position after the last one.

        `model_kwargs` itself stays as it is.
        """
        positions = jnp.asarray(model_kwargs["position_ids"])
        return {
            **model_kwargs,
            "past_key_values": model_outputs.past_key_values,
            "position_ids": positions[:, -1:] + 1,
        }

    def _new_cache(self, batch_size: int, slots: int) -> KVCache:
        """An empty cache; padding takes slots but no positions, so there may be more slots than positions."""
        config = self._config
        heads: int = config.num_attention_heads
        return KVCache.empty(
            layers=config.num_hidden_layers,
            batch=batch_size,
            max_length=slots,
            heads=heads,
            head_size=config.hidden_size // heads,
            dtype=self.dtype,
        )

    def _first_inputs(self, mask: Int[Array, "B T"], cache: KVCache) -> dict[str, Any]:
        later = jnp.ones((mask.shape[0], cache.max_length - mask.shape[1]), jnp.int32)
        return {
            "past_key_values": cache,
            "attention_mask": jnp.concatenate([mask, later], axis=1),
            "position_ids": jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0),  # padding before a text has no position
        }
