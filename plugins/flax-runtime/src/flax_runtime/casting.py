"""Casting: parameters in another floating-point type, all of them or those that a mask selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from automodels.errors import InputError, listed
from flax_runtime.parameters import Tree, flatten, unflatten


def cast_floating(params: Mapping[str, Any], dtype: Any, mask: Mapping[str, Any] | None = None) -> Tree:
    """A new tree whose floating leaves have another type; `params` and its arrays stay as they are.

    `mask` is a tree of booleans of the same form: only leaves where it is true are cast. Leaves that are not
    floating-point, or have the type already, are the same arrays as before. Raises InputError for a mask of another
    form, or with anything but booleans.
    """
    flat = flatten(params)
    selected = dict.fromkeys(flat, True) if mask is None else _checked_mask(flatten(mask), flat)
    return unflatten({path: _cast(leaf, dtype) if selected[path] else leaf for path, leaf in flat.items()})


def _cast(leaf: Any, dtype: Any) -> Any:
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating) or array.dtype == dtype:
        return leaf
    cast: jax.Array = jnp.asarray(array, dtype)
    return cast


def _checked_mask(mask: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, bool]:
    different = sorted({*mask} ^ {*flat})
    if different:
        raise InputError(f"The mask has another form than the parameters: {listed(different, limit=4)}.")
    wrong = [path for path, chosen in mask.items() if not _is_boolean(chosen)]
    if wrong:
        raise InputError(f"The mask needs True or False for each parameter; {listed(wrong, limit=4)} has neither.")
    return {path: bool(chosen) for path, chosen in mask.items()}


def _is_boolean(chosen: Any) -> bool:
    if isinstance(chosen, bool):
        return True
    return np.shape(chosen) == () and getattr(chosen, "dtype", None) == np.bool_
