"""Building a module without its values, and drawing values for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax import nnx

from automodels.config import PretrainedConfig
from flax_runtime.attention import AttentionFunction
from flax_runtime.keys import Keys
from flax_runtime.parameters import flatten

Abstract = Mapping[str, jax.ShapeDtypeStruct]
OUTLINES = 32  # that are kept: more than one program works with; each takes about a megabyte


class Build:
    """Makes a module from keys; two that would make the same one are equal."""

    def __init__(
        self,
        module_class: Callable[..., nnx.Module],
        config: PretrainedConfig,
        *,
        dtype: np.dtype,
        param_dtype: np.dtype,
        attend: AttentionFunction,
    ) -> None:
        self._module_class = module_class
        self._config = config.copy_with()  # configs change in place; this one must stay what it is compared by
        self._making: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "attend": attend}
        same = (module_class, type(config), config.to_json_string(use_diff=False), *self._making.values())
        self._same: tuple[Any, ...] = same

    def __call__(self, keys: Keys) -> nnx.Module:
        return self._module_class(self._config, **self._making, rngs=keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Build) and self._same == other._same

    def __hash__(self) -> int:
        return hash(self._same)


@functools.lru_cache(maxsize=OUTLINES)
def outline(build: Build) -> tuple[Any, Abstract]:
    """The graph of modules, and the shapes and types of its parameters by path; nothing is allocated.

    Kept, because models of one config are made again and again, and making many modules takes longer than loading.
    The graph leaves the trace by the side: `nnx.eval_shape` would put the modules together again, only to be split.
    """
    graphs: list[Any] = []

    def abstract() -> dict[str, Any]:
        graphdef, state = nnx.split(build(Keys(jax.random.key(0), abstract=True)))
        graphs.append(graphdef)
        return flatten(nnx.to_pure_dict(state))

    shapes: dict[str, jax.ShapeDtypeStruct] = jax.eval_shape(abstract)
    return graphs[0], MappingProxyType(shapes)


def draw(build: Build, key: jax.Array, wanted: Collection[str], *, of: int) -> dict[str, jax.Array]:
    """New values for the parameters `wanted`, `of` the model's number: but for rounding, as if all were drawn."""

    def drawn(key: jax.Array) -> dict[str, jax.Array]:
        flat = flatten(nnx.to_pure_dict(nnx.state(build(Keys(key)))))
        return {path: flat[path] for path in wanted}

    # All of them are drawn one by one, which compiles once for each shape: one program for hundreds of draws takes
    # minutes to compile. A few of many are drawn by one program, in which the others are never computed.
    values: dict[str, jax.Array] = (drawn if len(wanted) == of else jax.jit(drawn))(key)
    return values
