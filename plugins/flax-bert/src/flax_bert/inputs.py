"""Checks of a BERT's inputs, made before the compiled program sees them: inside it, nothing can be raised any more.

Shapes are always checked. Values are checked where they are known: traced arrays (inside jit, grad, vmap) pass, and an
id outside its table gives NaN there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from automodels.errors import InputError
from automodels.families.bert import BertConfig
from flax_runtime.cache import KVCache

AXES = {2: "[batch, tokens]", 3: "[batch, choices, tokens]"}


def checked_inputs(config: BertConfig, given: Mapping[str, Any], *, rank: int, cached: bool) -> dict[str, Any]:
    """The inputs that are given, as arrays; raises InputError when one does not fit.

    `rank` is that of `input_ids`; `cached` says whether the task takes a cache.
    """
    given = {name: value for name, value in given.items() if value is not None}
    ids = _table("input_ids", given.pop("input_ids", None), rank)
    cache: Any = given.pop("past_key_values", None)
    arrays: dict[str, Any] = {"input_ids": ids}
    _check_length(config, ids.shape[-1])
    _check_values("input_ids", ids, config.vocab_size)
    rows = {"token_type_ids": config.type_vocab_size, "position_ids": config.max_position_embeddings}
    for name in rows.keys() & given.keys():
        arrays[name] = _same_shape(name, _table(name, given[name], rank), ids)
        _check_values(name, arrays[name], rows[name])
    if cache is not None:
        arrays["past_key_values"] = _checked_cache(config, cache, ids, cached=cached)
    if "attention_mask" in given:
        mask = _table("attention_mask", given["attention_mask"], rank)
        arrays["attention_mask"] = (
            _same_shape("attention_mask", mask, ids) if cache is None else _whole(mask, cache, ids)
        )
    if "head_mask" in given:
        arrays["head_mask"] = _checked_head_mask(config, given["head_mask"])
    if "encoder_hidden_states" in given or "encoder_attention_mask" in given:
        arrays |= _checked_encoder(config, given, ids)
    return {name: value if isinstance(value, KVCache) else _narrow(value) for name, value in arrays.items()}


def _array(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is no array: {error}.", hints=["Pad the rows to one length."]) from error


def _table(name: str, value: Any, rank: int) -> Any:
    if value is None:
        raise InputError(f"{name} is missing; it needs {AXES[rank]}.")
    array = _array(name, value)
    if array.ndim != rank or 0 in array.shape:
        raise InputError(f"{name} has shape {list(array.shape)}; it needs {AXES[rank]}, all at least 1.")
    is_mask = array.dtype == bool and name.endswith("mask")
    if not is_mask and not jnp.issubdtype(array.dtype, jnp.integer):
        raise InputError(f"{name} holds {array.dtype.name}, not whole numbers.")
    return array


def _narrow(array: Any) -> Any:
    """Whole numbers in the type that programs are compiled for, whatever a list or a library made of them."""
    return array.astype(np.int32) if array.dtype.kind in "biu" and array.dtype != np.int32 else array


def _same_shape(name: str, array: Any, ids: Any) -> Any:
    if array.shape != ids.shape:
        raise InputError(f"{name} has shape {list(array.shape)}, input_ids {list(ids.shape)}.")
    return array


def _check_length(config: BertConfig, tokens: int) -> None:
    if tokens > config.max_position_embeddings:
        raise InputError(
            f"input_ids has {tokens} tokens; the model has positions for {config.max_position_embeddings}.",
            hints=["Truncate the text, for example with tokenizer(…, truncation=True)."],
        )


def _check_values(name: str, array: Any, rows: int) -> None:
    if isinstance(array, jax.core.Tracer):
        return
    known = np.asarray(array)  # jax's own minimum would be traced, inside jit, even of an array that is known
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= rows:
        raise InputError(
            f"{name} has the value {low if low < 0 else high}; the model's table has rows 0 to {rows - 1}."
        )


def _checked_cache(config: BertConfig, cache: Any, ids: Any, *, cached: bool) -> KVCache:
    if not cached:
        raise InputError("past_key_values is for the backbone and for causal language models; this task takes none.")
    if not isinstance(cache, KVCache):
        raise InputError(
            f"past_key_values is a {type(cache).__name__}, not a cache.",
            hints=["Make it with this model's init_cache(batch_size, max_length)."],
        )
    if not config.is_decoder:
        raise InputError("past_key_values is for decoders; the config has is_decoder=False.")
    if cache.max_length > config.max_position_embeddings:
        raise InputError(
            f"past_key_values has {cache.max_length} slots; the model has positions for "
            f"{config.max_position_embeddings}."
        )
    heads = config.num_attention_heads
    shape = {"layers": config.num_hidden_layers, "heads": heads, "head_size": config.hidden_size // heads}
    cache.check(batch=ids.shape[0], tokens=ids.shape[1], **shape)
    return cache


def _whole(mask: Any, cache: KVCache, ids: Any) -> Any:
    """The mask, if it covers every slot of the cache."""
    if mask.shape != (ids.shape[0], cache.max_length):
        raise InputError(
            f"attention_mask has shape {list(mask.shape)}; with past_key_values it covers the whole cache: "
            f"{[ids.shape[0], cache.max_length]}, 1 where nothing is written yet.",
            hints=["prepare_inputs_for_generation makes it out of the prompt's."],
        )
    return mask


def _checked_head_mask(config: BertConfig, value: Any) -> Any:
    """[N] or [L, N] as numbers."""
    array = _array("head_mask", value)
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if array.shape not in ((heads,), (layers, heads)):
        raise InputError(f"head_mask has shape {list(array.shape)}; it needs [{heads}] or [{layers}, {heads}].")
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(f"head_mask holds {array.dtype.name}, not numbers.")
    return array.astype(np.float32) if array.dtype.kind in "biu" else array


def _checked_encoder(config: BertConfig, given: Mapping[str, Any], ids: Any) -> dict[str, Any]:
    """The encoder's states and their mask."""
    if not config.add_cross_attention:
        named = "encoder_hidden_states" if "encoder_hidden_states" in given else "encoder_attention_mask"
        raise InputError(f"{named} is given; the model has no cross attention (add_cross_attention=False).")
    if "encoder_hidden_states" not in given:
        raise InputError("encoder_attention_mask is given without encoder_hidden_states.")
    states = _array("encoder_hidden_states", given["encoder_hidden_states"])
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
        mask = _table("encoder_attention_mask", given["encoder_attention_mask"], 2)
        if mask.shape != states.shape[:2]:
            raise InputError(
                f"encoder_attention_mask has shape {list(mask.shape)}, encoder_hidden_states {list(states.shape)}."
            )
        arrays["encoder_attention_mask"] = mask
    return arrays
