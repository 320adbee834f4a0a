"""Checks of arguments that are types of numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from automodels.errors import InputError


def floating(what: str, dtype: Any) -> np.dtype:
    """The type; raises InputError for anything but a floating-point one."""
    try:
        found: np.dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(f"{what} is {dtype!r}, which is not a type of numbers.") from error
    if not jnp.issubdtype(found, jnp.floating):
        raise InputError(f"{what} is {found.name}; models compute in floating-point types.")
    return found
