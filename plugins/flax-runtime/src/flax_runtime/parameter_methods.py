"""What a model does with trees of parameters: its own, or those it is given when it has none (`_do_init=False`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.runtime.numbers import positive
from flax_runtime.building import Abstract, Build, draw, outline
from flax_runtime.casting import cast_floating
from flax_runtime.fitting import refuse_misfit, refuse_wrong
from flax_runtime.keys import as_key
from flax_runtime.parameters import Tree, flatten, unflatten
from flax_runtime.resizing import resized, vocabulary_axes


class ParameterMethods:
    """The parameters of a model with a graph, `_abstract` shapes, and perhaps values."""

    base_model_prefix: ClassVar[str]
    vocabulary: ClassVar[Mapping[str, int]] = {}
    """Parameters that have the vocabulary as an axis: path (below the backbone, or a head's own) → axis.

    A path that a model does not have, such as that of another task's head, is passed over.
    """

    seed: int
    _config: PretrainedConfig
    _graphdef: nnx.GraphDef[Any]
    _abstract: Abstract
    _params: Tree | None
    _builder: Callable[[PretrainedConfig], Build]
    check_config: Callable[[object], None]

    @property
    def params(self) -> Tree:
        """The parameters: nested dicts, named as in transformers' Flax trees.

        Setting them raises CheckpointMismatchError, with every culprit in the trace, for a tree that lacks a leaf, has
        one more, or one of another shape. Getting them raises InputError when the model has none (`_do_init=False`).
        """
        if self._params is None:
            raise InputError(
                f"This {type(self).__name__} has no parameters of its own: it was made with _do_init=False.",
                hints=["Pass params=…; init_weights(rng, input_shape) makes them, or from_pretrained returns them."],
            )
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self._params = self._checked(params)

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """Paths that a tree of parameters must have, as tuples of keys."""
        return {tuple(path.split(".")) for path in self._abstract}

    @property
    def params_shape_tree(self) -> Tree:
        """The tree of parameters with shapes and types in place of values."""
        return unflatten(self._abstract)

    def init_weights(
        self, rng: jax.Array, input_shape: tuple[int, ...] = (1, 1), params: Mapping[str, Any] | None = None
    ) -> Tree:
        """A whole tree of parameters: the leaves of `params`, and fresh values, drawn from `rng`, where it lacks some.

        The model itself stays as it is. `rng` is a key of either style; `input_shape` has no effect, because shapes
        follow from the config. The same key gives a leaf the same value, whatever else is drawn. Raises InputError for
        what is no key, CheckpointMismatchError for leaves that do not fit.
        """
        given = {} if params is None else flatten(params)
        refuse_wrong(given, self._abstract)
        new = self._drawn([path for path in self._abstract if path not in given], as_key(rng, "rng"))
        return unflatten({path: given[path] if path in given else new[path] for path in self._abstract})

    def to_bf16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> Tree:
        """A new tree with floating leaves in bfloat16, only those where `mask` is true if one is given.

        `params` stays as it is, and so does `dtype`, the type of the computation. Raises InputError for a mask of
        another form than the parameters.
        """
        return cast_floating(params, jnp.bfloat16, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> Tree:
        """As `to_bf16`, in float16."""
        return cast_floating(params, jnp.float16, mask)

    def to_fp32(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> Tree:
        """As `to_bf16`, in float32."""
        return cast_floating(params, jnp.float32, mask)

    def num_parameters(self, exclude_embeddings: bool = False) -> int:
        """Count of single numbers in all parameters, or in all but tables of embeddings."""
        return sum(
            leaf.size
            for path, leaf in self._abstract.items()
            if not (exclude_embeddings and path.endswith(".embedding"))
        )

    def get_memory_footprint(self) -> int:
        """Bytes that the parameters take, or would take where the model has none of its own."""
        leaves = self._abstract.values() if self._params is None else jax.tree.leaves(self._params)
        return sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in leaves)

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        params: Mapping[str, Any] | None = None,
        mean_resizing: bool = True,
    ) -> Tree:
        """Gives the vocabulary another size, in the config and in every parameter that has it as an axis.

        Returns the resized tree. A model with parameters of its own resizes those, or `params`, and keeps the result;
        one without needs `params`. Rows are cut off at the end, or appended there: drawn from the distribution of the
        old ones (see `flax_runtime.resizing`), or with `mean_resizing=False` initialised as in a new model. Without
        `new_num_tokens` nothing changes. Raises InputError, ConfigError, or CheckpointMismatchError, and then the model
        is as it was.
        """
        values = self.params if params is None else self._checked(params)
        if new_num_tokens is None:
            return values
        size = positive("new_num_tokens", new_num_tokens)
        config = self._config.copy_with(vocab_size=size)
        build = self._builder(config)
        graphdef, abstract = outline(build)
        axes = vocabulary_axes(self.vocabulary, self.base_model_prefix, self._abstract, abstract)
        key = jax.random.key(self.seed)
        fresh = None if mean_resizing else draw(build, key, axes, of=len(abstract))
        result = unflatten(resized(flatten(values), axes, size, key=key, fresh=fresh))
        refuse_misfit(flatten(result), abstract)
        self._config, self._graphdef, self._abstract = config, graphdef, abstract
        if self._params is not None:
            self._params = result
        self._compile()
        return result

    def _drawn(self, wanted: Collection[str], key: jax.Array | None = None) -> dict[str, jax.Array]:
        """Fresh values by path, from a key or the model's seed."""
        if not wanted:
            return {}  # before a key is made, for which the first one in a process is compiled
        key = jax.random.key(self.seed) if key is None else key
        return draw(self._builder(self._config), key, wanted, of=len(self._abstract))

    def _checked(self, params: Mapping[str, Any]) -> Tree:
        """The parameters as arrays, if they fit the model."""
        flat = flatten(params)
        refuse_misfit(flat, self._abstract)
        return unflatten({path: jnp.asarray(flat[path]) for path in self._abstract})

    def _compile(self) -> None:
        """Forgets compiled programs of the module as it was."""
        raise NotImplementedError
