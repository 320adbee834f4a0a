"""Checks of a BERT's inputs: those that every model makes, and of segments, head masks and an encoder's states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from automodels.errors import InputError
from automodels.families.bert import BertConfig
from flax_runtime.cache import KVCache
from flax_runtime.inputs import (
    array,
    check_length,
    check_values,
    checked_cache,
    checked_mask,
    narrowed,
    same_shape,
    table,
)


def checked_inputs(config: BertConfig, given: Mapping[str, Any], *, rank: int, cached: bool) -> dict[str, Any]:
    """The inputs that are given, as arrays; raises InputError when one does not fit.

    `rank` is that of `input_ids`; `cached` says whether the task takes a cache.
    """
    given = {name: value for name, value in given.items() if value is not None}
    ids = table("input_ids", given.pop("input_ids", None), rank)
    cache: Any = given.pop("past_key_values", None)
    arrays: dict[str, Any] = {"input_ids": ids}
    check_length(ids.shape[-1], config.max_position_embeddings)
    check_values("input_ids", ids, config.vocab_size)
    rows = {"token_type_ids": config.type_vocab_size, "position_ids": config.max_position_embeddings}
    for name in rows.keys() & given.keys():
        arrays[name] = same_shape(name, table(name, given[name], rank), ids)
        check_values(name, arrays[name], rows[name])
    if cache is not None:
        arrays["past_key_values"] = _decoders_cache(config, cache, ids, cached=cached)
    if "attention_mask" in given:
        arrays["attention_mask"] = checked_mask(given["attention_mask"], ids, cache)
    if "head_mask" in given:
        arrays["head_mask"] = _checked_head_mask(config, given["head_mask"])
    if "encoder_hidden_states" in given or "encoder_attention_mask" in given:
        arrays |= _checked_encoder(config, given, ids)
    return narrowed(arrays)


def _decoders_cache(config: BertConfig, cache: Any, ids: Any, *, cached: bool) -> KVCache:
    if not cached:
        raise InputError("past_key_values is for the backbone and for causal language models; this task takes none.")
    if isinstance(cache, KVCache) and not config.is_decoder:
        raise InputError("past_key_values is for decoders; the config has is_decoder=False.")
    return checked_cache(config, cache, ids)


def _checked_head_mask(config: BertConfig, value: Any) -> Any:
    """[N] or [L, N] as numbers."""
    found = array("head_mask", value)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if found.shape not in ((heads,), (layers, heads)):
        raise InputError(f"head_mask has shape {list(found.shape)}; it needs [{heads}] or [{layers}, {heads}].")
    if found.dtype.kind not in "biuf" and not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(f"head_mask holds {found.dtype.name}, not numbers.")
    return found.astype(np.float32) if found.dtype.kind in "biu" else found


def _checked_encoder(config: BertConfig, given: Mapping[str, Any], ids: Any) -> dict[str, Any]:
    """The encoder's states and their mask."""
    if not config.add_cross_attention:
        named = "encoder_hidden_states" if "encoder_hidden_states" in given else "encoder_attention_mask"
        raise InputError(f"{named} is given; the model has no cross attention (add_cross_attention=False).")
    if "encoder_hidden_states" not in given:
        raise InputError("encoder_attention_mask is given without encoder_hidden_states.")
    states = array("encoder_hidden_states", given["encoder_hidden_states"])
    if (
        states.ndim != 3
        or states.shape[0] != ids.shape[0]
        or states.shape[2] != config.encoder_width
        or 0 in states.shape
    ):
        raise InputError(
            f"encoder_hidden_states has shape {list(states.shape)}; it needs [{ids.shape[0]}, encoder's tokens, "
            f"{config.encoder_width}]."
        )
    if not jnp.issubdtype(states.dtype, jnp.floating):
        raise InputError(f"encoder_hidden_states holds {states.dtype.name}, not floating-point numbers.")
    arrays = {"encoder_hidden_states": states}
    if "encoder_attention_mask" in given:
        mask = table("encoder_attention_mask", given["encoder_attention_mask"])
        if mask.shape != states.shape[:2]:
            raise InputError(
                f"encoder_attention_mask has shape {list(mask.shape)}, encoder_hidden_states {list(states.shape)}."
            )
        arrays["encoder_attention_mask"] = mask
    return arrays
