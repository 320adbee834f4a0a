"""Calls: graph and values merged inside one `jax.jit`.

The module never holds the values that a call computes with, so `params=` can be any tree of the same form:
differentiated, averaged, donated, sharded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from automodels.errors import InputError
from flax_runtime.execution import Execution
from flax_runtime.fitting import refuse_misfit
from flax_runtime.keys import as_key
from flax_runtime.parameter_methods import ParameterMethods
from flax_runtime.parameters import flatten, module_state


class CallMethods(ParameterMethods):
    """What computes."""

    _executed: Execution
    """How calls run: compiled, or operation by operation."""

    _gradient_checkpointing: bool = False

    @property
    def module(self) -> nnx.Module:
        """A live NNX module with the current parameters; changing it does not change the model.

        Put a trained one's parameters back with `model.params = parameters_of(module)`.
        """
        module: nnx.Module = nnx.merge(self._graphdef, module_state(self.params))
        return module

    def enable_gradient_checkpointing(self) -> None:
        """From now on gradients compute each layer again instead of keeping what is inside it.

        They are the same, take less memory and more time (Chen et al. 2016, https://arxiv.org/abs/1604.06174).
        """
        self._gradient_checkpointing = True

    def disable_gradient_checkpointing(self) -> None:
        """From now on gradients keep what is inside each layer."""
        self._gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether gradients compute each layer again."""
        return self._gradient_checkpointing

    def apply(
        self,
        inputs: Mapping[str, Any],
        *,
        params: Mapping[str, Any] | None = None,
        dropout_rng: jax.Array | None = None,
        train: bool = False,
        **flags: bool,
    ) -> Any:
        """The module's result for `inputs` under one `jax.jit`; `flags` are static arguments of the module.

        Differentiable, and usable inside jit, grad and vmap. `dropout_rng` is a key of either style and is used with
        `train` only. Raises InputError for `train` without `dropout_rng`, CheckpointMismatchError for params that do
        not fit the model.
        """
        if train and dropout_rng is None:
            raise InputError("train=True needs a key: pass dropout_rng=jax.random.key(…).")
        if self._gradient_checkpointing:
            flags["gradient_checkpointing"] = True
        values = self.params if params is None else params
        return self._run(values, dict(inputs), dropout_rng if train else None, flags=tuple(sorted(flags.items())))

    def _forward(
        self,
        params: Mapping[str, Any],
        inputs: dict[str, Any],
        dropout_rng: jax.Array | None,
        *,
        flags: tuple[tuple[str, bool], ...],
    ) -> Any:
        refuse_misfit(flatten(params), self._abstract)  # while it is traced: a compiled call pays nothing for it
        module: Any = nnx.merge(self._graphdef, module_state(params))
        key = None if dropout_rng is None else as_key(dropout_rng, "dropout_rng")
        return module(**inputs, dropout_rng=key, **dict(flags))

    def _compile(self) -> None:
        self._run = self._executed(self._forward, static_argnames="flags")
