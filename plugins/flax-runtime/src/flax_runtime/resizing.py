"""Resizing: a vocabulary of another size, in every parameter that has it as an axis.

New rows are drawn around the mean of the old ones with a small part of their covariance, so that the new tokens neither
take probability from the old ones nor are all alike (Hewitt 2021, https://nlp.stanford.edu/~johnhew/vocab-expansion.html).

Shapes: V old rows of the vocabulary, M new ones, W numbers in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from automodels.errors import InputError, listed
from flax_runtime.building import Abstract

SPREAD = 1e-5  # part of the covariance that new rows have, as Hewitt chose


def vocabulary_axes(declared: Mapping[str, int], backbone: str, old: Abstract, new: Abstract) -> dict[str, int]:
    """Path → axis of those declared parameters that the model has, below the backbone or beside it.

    `old` and `new` are the model before and after. Raises InputError when another parameter depends on the vocabulary:
    the class does not declare it.
    """
    placed = {f"{backbone}.{path}" if f"{backbone}.{path}" in old else path: axis for path, axis in declared.items()}
    axes = {path: axis for path, axis in placed.items() if path in old}
    others = [path for path in old if path not in axes and (path not in new or old[path].shape != new[path].shape)]
    if others or not axes:
        raise InputError(
            f"The class does not declare where its vocabulary is: {listed(others, limit=4) or 'nowhere'}.",
            hints=["It needs `vocabulary`: the path of each such parameter, and the axis."],
        )
    return axes


def resized(
    flat: Mapping[str, Any],
    axes: Mapping[str, int],
    size: int,
    *,
    key: Key[Array, ""],
    fresh: Mapping[str, jax.Array] | None,
) -> dict[str, Any]:
    """Parameters by path with `size` rows along their vocabulary axes: cut off, or with new rows at the end.

    New rows come from `fresh`, parameters of the new size, or where it is None from the old rows' distribution.
    """
    result = dict(flat)
    for number, (path, axis) in enumerate(axes.items()):
        old = jnp.moveaxis(jnp.asarray(flat[path]), axis, 0)
        more = size - old.shape[0]
        if more <= 0:
            rows = old[:size]
        elif fresh is not None:
            rows = jnp.concatenate([old, jnp.moveaxis(fresh[path], axis, 0)[-more:].astype(old.dtype)])
        else:
            new = rows_like(old.reshape(old.shape[0], -1), more, jax.random.fold_in(key, number))
            rows = jnp.concatenate([old, new.reshape(more, *old.shape[1:])])
        result[path] = jnp.moveaxis(rows, 0, axis)
    return result


def rows_like(old: Float[Array, "V W"], count: int, key: Key[Array, ""]) -> Float[Array, "M W"]:
    """`count` new rows from the normal distribution with the old rows' mean and a small part of their covariance."""
    table = old.astype(jnp.float32)
    mean = table.mean(0, keepdims=True)
    centered = table - mean
    covariance = jnp.matmul(centered.T, centered, precision=jax.lax.Precision.HIGHEST) / table.shape[0]
    # The covariance is not of full rank where there are fewer rows than columns: axes, not a Cholesky factor.
    variances, axes = jnp.linalg.eigh(covariance)
    deviations = jnp.sqrt(SPREAD * jnp.maximum(variances, 0))
    noise = jax.random.normal(key, (count, table.shape[1])) * deviations[None]
    new: jax.Array = mean + noise @ axes.T
    return new.astype(old.dtype)
