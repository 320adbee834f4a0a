"""Checks of a model's inputs, made before the compiled program sees them: inside it, nothing can be raised any more.

Shapes are always checked. Values are checked where they are known: traced arrays (inside jit, grad, vmap) pass, and an
id outside its table gives NaN there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from automodels.arguments import refuse_unknown
from automodels.config import PretrainedConfig
from automodels.errors import InputError, UnknownArgumentError
from flax_runtime.cache import KVCache

AXES = {2: "[batch, tokens]", 3: "[batch, choices, tokens]"}


def decoder_inputs(config: PretrainedConfig, given: Mapping[str, Any], *, first_position: int = 0) -> dict[str, Any]:
    """The inputs of a decoder that are given, as arrays; raises InputError when one does not fit.

    `input_ids` [B, T]; `past_key_values`, a cache of S slots; `attention_mask` [B, T], or [B, S] with a cache, or one
    for each token (see `checked_mask`); `position_ids` [B, T], from `first_position` to the end of the table. Other
    names are for the model to check.
    """
    given = {name: value for name, value in given.items() if value is not None}
    ids = table("input_ids", given.get("input_ids"))
    arrays: dict[str, Any] = {"input_ids": ids}
    check_length(ids.shape[1], config.max_position_embeddings)
    check_values("input_ids", ids, config.vocab_size)
    cache: Any = given.get("past_key_values")
    if cache is not None:
        arrays["past_key_values"] = checked_cache(config, cache, ids)
    if "attention_mask" in given:
        arrays["attention_mask"] = checked_mask(given["attention_mask"], ids, cache)
    if "position_ids" in given:
        positions = table("position_ids", given["position_ids"])
        arrays["position_ids"] = same_shape("position_ids", positions, ids)
        check_values("position_ids", positions, config.max_position_embeddings, first=first_position)
    return narrowed(arrays)


def array(name: str, value: Any) -> Any:
    """The value as an array of JAX or numpy; raises InputError when it is none, such as rows of different lengths."""
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is no array: {error}.", hints=["Pad the rows to one length."]) from error


def table(name: str, value: Any, rank: int = 2) -> Any:
    """The value as an array of whole numbers (a mask may be boolean) of this rank, no axis of which is empty."""
    if value is None:
        raise InputError(f"{name} is missing; it needs {AXES[rank]}.")
    found = array(name, value)
    if found.ndim != rank or 0 in found.shape:
        raise InputError(f"{name} has shape {list(found.shape)}; it needs {AXES[rank]}, all at least 1.")
    is_mask = found.dtype == bool and name.endswith("mask")
    if not is_mask and not jnp.issubdtype(found.dtype, jnp.integer):
        raise InputError(f"{name} holds {found.dtype.name}, not whole numbers.")
    return found


def narrowed(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Whole numbers in the type that programs are compiled for, whatever a list or a library made of them."""
    return {name: value if isinstance(value, KVCache) else _narrow(value) for name, value in arrays.items()}


def _narrow(found: Any) -> Any:
    if found.dtype == bool and found.ndim == 3:  # a mask for each token
        return found
    return found.astype(np.int32) if found.dtype.kind in "biu" and found.dtype != np.int32 else found


def same_shape(name: str, found: Any, ids: Any) -> Any:
    """The array, if it has the shape of the ids."""
    if found.shape != ids.shape:
        raise InputError(f"{name} has shape {list(found.shape)}, input_ids {list(ids.shape)}.")
    return found


def check_length(tokens: int, positions: int) -> None:
    """Raises InputError for more tokens than positions."""
    if tokens > positions:
        raise InputError(
            f"input_ids has {tokens} tokens; the model has positions for {positions}.",
            hints=["Truncate the text, for example with tokenizer(…, truncation=True)."],
        )


def check_values(name: str, found: Any, rows: int, *, first: int = 0) -> None:
    """Raises InputError unless the values are `first` to `rows` − 1; traced ones are not known, and pass."""
    if isinstance(found, jax.core.Tracer):
        return
    known = np.asarray(found)  # jax's own minimum would be traced, inside jit, even of an array that is known
    low, high = int(known.min()), int(known.max())
    if low < first or high >= rows:
        raise InputError(
            f"{name} has the value {low if low < first else high}; the model's table has rows {first} to {rows - 1}."
        )


def checked_cache(config: PretrainedConfig, cache: Any, ids: Any) -> KVCache:
    """The cache, if this model can go on with it."""
    if not isinstance(cache, KVCache):
        raise InputError(
            f"past_key_values is a {type(cache).__name__}, not a cache.",
            hints=["Make it with this model's init_cache(batch_size, max_length)."],
        )
    if cache.max_length > config.max_position_embeddings:
        raise InputError(
            f"past_key_values has {cache.max_length} slots; the model has positions for "
            f"{config.max_position_embeddings}."
        )
    heads = config.num_attention_heads
    shape = {"layers": config.num_hidden_layers, "heads": heads, "head_size": config.hidden_size // heads}
    cache.check(batch=ids.shape[0], tokens=ids.shape[1], **shape)
    return cache


def checked_mask(value: Any, ids: Any, cache: KVCache | None) -> Any:
    """The attention mask, if it covers the ids, or every slot of the cache.

    For ids [B, T] a mask [B, T, S], S being tokens or slots, says what each token sees; it is returned as bool. Any
    other has the shape of the ids, or [B, S] with a cache.
    """
    if ids.ndim == 2 and array("attention_mask", value).ndim == 3:
        return _mask_for_each(table("attention_mask", value, 3), ids, cache)
    mask = table("attention_mask", value, ids.ndim)
    if cache is None:
        return same_shape("attention_mask", mask, ids)
    if mask.shape != (ids.shape[0], cache.max_length):
        raise InputError(
            f"attention_mask has shape {list(mask.shape)}; with past_key_values it covers the whole cache: "
            f"{[ids.shape[0], cache.max_length]}, 1 where nothing is written yet.",
            hints=["prepare_inputs_for_generation makes it out of the prompt's."],
        )
    return mask


def _mask_for_each(mask: Any, ids: Any, cache: KVCache | None) -> Any:
    expected = (*ids.shape, ids.shape[1] if cache is None else cache.max_length)
    if mask.shape != expected:
        raise InputError(f"attention_mask has shape {list(mask.shape)}; for each token it needs {list(expected)}.")
    return mask != 0


def refuse_unknown_inputs(model: type[Any], unknown: Iterable[str]) -> None:
    """Raises UnknownArgumentError for the names, with the nearest one that a call of the model takes."""
    unknown = tuple(unknown)
    if "labels" in unknown:
        raise UnknownArgumentError(
            f"{model.__name__} has no argument 'labels': Flax models return logits and compute no loss.",
            hints=["Compute it from the output, for example with optax.softmax_cross_entropy_with_integer_labels."],
        )
    known = [name for name in inspect.signature(model.__call__).parameters if name not in ("self", "unknown")]
    if unknown:
        refuse_unknown(model.__name__, unknown, known)
