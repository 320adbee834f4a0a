"""FlaxPreTrainedModel: a config, a graph of NNX modules without values, and the values as a plain tree.

What it can do with them stands in CallMethods, ParameterMethods, CheckpointSaving and GenerationMethods; here it is
made, loaded, pickled and registered.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import os
import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self, overload

import jax.numpy as jnp
from flax import nnx

from automodels.arguments import parameters
from automodels.checkpoint.locate import Location
from automodels.checkpoint.opening import open_checkpoint
from automodels.checkpoint.plan import Plan
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.report import LoadReport
from automodels.config import PretrainedConfig
from automodels.plugins.resolve import Resolution
from automodels.runtime.loading import again_if_saved, located_with_config, plan_for, refuse_many_layers, warn_of_fresh
from automodels.runtime.numbers import sizes, whole
from automodels.runtime.ties import check_ties
from flax_runtime.attend import Attend
from flax_runtime.building import Build, outline
from flax_runtime.devices import backend_here
from flax_runtime.execution import execution_of
from flax_runtime.filling import abstract_parameters, fill
from flax_runtime.generation.methods import GenerationMethods
from flax_runtime.numbers import floating
from flax_runtime.parameters import Tree, unflatten
from flax_runtime.saving import CheckpointSaving

logger = logging.getLogger("automodels")


class FlaxPreTrainedModel(GenerationMethods, CheckpointSaving):
    """Base of every Flax model; a model names its config, module and key map, and writes out `__call__`."""

    framework: ClassVar[str] = "flax"
    module_class: ClassVar[Callable[..., nnx.Module]]
    """Called as `module_class(config, dtype=, param_dtype=, attend=, rngs=)`."""

    load_report: LoadReport | None = None
    """What loading did; None for a model that was not loaded."""

    def __init__(
        self,
        config: PretrainedConfig,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        dtype: Any = jnp.float32,
        _do_init: bool = True,
        *,
        param_dtype: Any = jnp.float32,
        backend: str = "auto",
        gradient_checkpointing: bool = False,
    ) -> None:
        """A model with fresh parameters, drawn from `seed`; with `_do_init=False`, one that has none of its own.

        `dtype` is the type of the computation, `param_dtype` that of the parameters; `input_shape` (batch, tokens) is
        kept for callers and has no effect. With `gradient_checkpointing`, gradients take less memory and more time.
        Raises InputError when the config is of another class, BackendUnavailableError when `backend` cannot run here.
        """
        self.check_config(config)
        self._config = config.copy_with()
        self.input_shape = sizes("input_shape", input_shape)
        self.seed = whole("seed", seed)
        self.dtype = floating("dtype", dtype)
        self.param_dtype = floating("param_dtype", param_dtype)
        self._backend = backend
        self._gradient_checkpointing = gradient_checkpointing
        self._params = None
        self._set_up()
        if _do_init:
            self._params = unflatten(self._drawn(self._abstract))

    @overload
    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str] | Location, *, _do_init: Literal[False], **options: Any
    ) -> tuple[Self, Tree]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str] | Location, *, _do_init: Literal[True] = True, **options: Any
    ) -> Self: ...

    @classmethod
    @again_if_saved
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | Location,
        *,
        config: PretrainedConfig | None = None,
        dtype: Any = jnp.float32,
        param_dtype: Any = jnp.float32,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        backend: str = "auto",
        gradient_checkpointing: bool = False,
        strict: bool = False,
        ignore_mismatched_sizes: bool = False,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        resolution: Resolution | None = None,
        _do_init: bool = True,
        **options: Any,
    ) -> Self | tuple[Self, Tree]:
        """The model in a checkpoint; with `_do_init=False`, a model without parameters of its own, and a tree of them.

        `dtype` is the type of the computation, `param_dtype` that of the parameters (tensors are cast to it);
        `options` are those of `locate`, such as `revision`, and fields of the config. With `strict`, nothing may be
        missing or left over; with `ignore_mismatched_sizes`, parameters of another shape start afresh. Fresh parameters
        are drawn from `seed` and named in a warning; with `_do_init=False` the tree lacks them, `load_report` names
        them, and `init_weights` draws them.
        `variant`, `use_safetensors`, `from_pt` and `from_flax` choose among several weights (see `Checkpoint.open`).
        `resolution` is how an auto class came here. Raises CheckpointError, ConfigError, BackendUnavailableError, or
        UnknownArgumentError; a checkpoint that does not fit is refused before anything is allocated.
        """
        started = time.perf_counter()
        location, config = located_with_config(
            cls, name, config, options, known=parameters(FlaxPreTrainedModel.from_pretrained)
        )
        checkpoint = open_checkpoint(
            location, variant=variant, use_safetensors=use_safetensors, from_pt=from_pt, from_flax=from_flax
        )
        refuse_many_layers(config, checkpoint, location.name)
        model = cls(
            config,
            input_shape,
            seed,
            dtype,
            _do_init=False,
            param_dtype=param_dtype,
            backend=backend,
            gradient_checkpointing=gradient_checkpointing,
        )
        report = model.backend_report
        logger.info("%s: backend %s on %s.", cls.__name__, report.spec, report.situation)
        model._read_generation_config(location)
        plan = model._plan(checkpoint, location.name, strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes)
        arrays = fill(plan)
        if _do_init:
            warn_of_fresh(cls, plan, location.name)
            arrays |= model._drawn([*plan.fresh, *plan.mismatched])
        params = unflatten({path: arrays[path] for path in model._abstract if path in arrays})
        model.load_report = LoadReport.of(
            plan,
            source=location.name,
            files=checkpoint.files,
            seconds=time.perf_counter() - started,
            plugin=str(resolution.entry.plugin) if resolution else "",
            backend=model.backend_report,
        )
        if not _do_init:
            return model, params
        model._params = params
        return model

    def _plan(self, checkpoint: Checkpoint, source: str, *, strict: bool, **fitting: Any) -> Plan:
        """Which tensor fills which parameter; tied ones are the same where both are there."""

        def planned(model: Self, strict: bool) -> Plan:
            return plan_for(model, abstract_parameters(model._abstract), checkpoint, source, strict=strict, **fitting)

        def untied_plan(config: PretrainedConfig) -> Plan:
            return planned(type(self)(config, dtype=self.dtype, _do_init=False, backend=self._backend), False)

        plan = planned(self, strict)
        return check_ties(self, self._config, plan, checkpoint, source, strict=strict, untied_plan=untied_plan)

    def with_backend(self, backend: str) -> Self:
        """The same model with another backend: "xla", "cudnn+jit", "eager", "auto"; this one stays as it is.

        Both have the same arrays as parameters; nothing is read or copied. Raises BackendUnavailableError, with every
        reason, when it cannot run here; InputError for names that cannot stand together.
        """
        other = copy.copy(self)
        other._config = self._config.copy_with()
        other.generation_config = copy.deepcopy(self.generation_config)
        other._backend = backend
        other._set_up()
        if self.load_report is not None:
            other.load_report = dataclasses.replace(self.load_report, backend=other.backend_report)
        return other

    def _set_up(self) -> None:
        """Everything that follows from config and types."""
        self.backend_report = backend_here(self._backend, self.dtype, self._config.attention_needs)
        self._executed = execution_of(self.backend_report)
        self._graphdef, self._abstract = outline(self._builder(self._config))
        self._compile()

    def _builder(self, config: PretrainedConfig) -> Build:
        attend = Attend.of(self.backend_report)
        return Build(self.module_class, config, dtype=self.dtype, param_dtype=self.param_dtype, attend=attend)

    def __getstate__(self) -> dict[str, Any]:
        """What cannot be derived: no compiled programs, no graph; the backend is chosen anew where it is unpickled."""
        derived = {
            "_graphdef", "_abstract", "_executed", "_run", "_prefill_program", "_decode_program", "backend_report",
        }  # fmt: skip
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    @property
    def config(self) -> PretrainedConfig:
        """The model's own copy of its config."""
        return self._config
