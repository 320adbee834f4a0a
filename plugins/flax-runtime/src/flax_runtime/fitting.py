"""Whether a tree of parameters fits a model: the same paths, the same shapes, numbers with a fraction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from automodels.errors import CheckpointMismatchError, listed

NAMED = 4  # culprits of one kind in a message; the trace has all


def refuse_misfit(flat: Mapping[str, Any], abstract: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """Raises CheckpointMismatchError, with every culprit in the trace, unless `flat` has just the leaves of `abstract`.

    Shapes must agree, types need not: parameters in bfloat16 fit a model in float32; whole numbers fit none.
    """
    refuse_wrong(flat, abstract, missing=[path for path in abstract if path not in flat])


def refuse_wrong(
    flat: Mapping[str, Any], abstract: Mapping[str, jax.ShapeDtypeStruct], *, missing: Collection[str] = ()
) -> None:
    """As `refuse_misfit`, for a tree that may lack leaves."""
    extra = [path for path in flat if path not in abstract]
    found = {path: _problem(flat[path], leaf) for path, leaf in abstract.items() if path in flat}
    wrong = [f"{path} {problem}" for path, problem in found.items() if problem]
    if not missing and not extra and not wrong:
        return
    lines = ["These parameters do not fit the model:"]
    lines += [f"missing: {listed(missing, limit=NAMED)}"] if missing else []
    lines += [f"not in the model: {listed(extra, limit=NAMED)}"] if extra else []
    lines += wrong[:NAMED]
    raise CheckpointMismatchError("\n".join(lines), trace=[*missing, *extra, *wrong])


def _problem(leaf: Any, expected: jax.ShapeDtypeStruct) -> str | None:
    array = leaf if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else np.asarray(leaf)
    if tuple(array.shape) != expected.shape:
        return f"has shape {list(array.shape)}, not {list(expected.shape)}"
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"holds {array.dtype}, not floating-point numbers"
    return None
