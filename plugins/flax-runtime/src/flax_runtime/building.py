"""Building a module without its values, and drawing values for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import jax
from flax import nnx

from flax_runtime.keys import Keys
from flax_runtime.parameters import flatten

Build = Callable[[Keys], nnx.Module]
Abstract = dict[str, jax.ShapeDtypeStruct]


def outline(build: Build) -> tuple[Any, Abstract]:
    """The graph of modules, and the shapes and types of its parameters by path; nothing is allocated.

    The graph leaves the trace by the side: `nnx.eval_shape` would put the modules together again, only to be split.
    """
    graphs: list[Any] = []

    def abstract() -> dict[str, Any]:
        graphdef, state = nnx.split(build(Keys(jax.random.key(0), abstract=True)))
        graphs.append(graphdef)
        return flatten(nnx.to_pure_dict(state))

    shapes: Abstract = jax.eval_shape(abstract)
    return graphs[0], shapes


def draw(build: Build, key: jax.Array, wanted: Collection[str], *, of: int) -> dict[str, jax.Array]:
    """New values for the parameters `wanted`, `of` the model's number: but for rounding, as if all were drawn."""
    if not wanted:
        return {}

    def drawn(key: jax.Array) -> dict[str, jax.Array]:
        flat = flatten(nnx.to_pure_dict(nnx.state(build(Keys(key)))))
        return {path: flat[path] for path in wanted}

    # All of them are drawn one by one, which compiles once for each shape: one program for hundreds of draws takes
    # minutes to compile. A few of many are drawn by one program, in which the others are never computed.
    values: dict[str, jax.Array] = (drawn if len(wanted) == of else jax.jit(drawn))(key)
    return values
