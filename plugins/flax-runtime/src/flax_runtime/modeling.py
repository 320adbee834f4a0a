"""FlaxPreTrainedModel: a config, a graph of NNX modules without values, and the values as a plain tree.

Execution is functional: a call merges graph and values inside one `jax.jit`. The module never holds the values that a
call computes with, so `params=` can be any tree of the same form: differentiated, averaged, donated, sharded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from automodels.arguments import parameters, refuse_unknown
from automodels.backends import BackendReport, choose_backend
from automodels.checkpoint.keymap import KeyMap
from automodels.checkpoint.locate import OPTIONS, Location, locate, split_options
from automodels.checkpoint.opening import open_checkpoint
from automodels.checkpoint.plan import AbstractParameter, Plan, make_plan
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.report import LoadReport
from automodels.config import PretrainedConfig
from automodels.errors import CheckpointMismatchError, InputError, UnsupportedConfigError, listed
from automodels.plugins.catalog import load_catalog
from automodels.plugins.host import load_reference
from automodels.plugins.resolve import Resolution
from flax_runtime.attention import AttentionFunction
from flax_runtime.filling import fill
from flax_runtime.keys import Keys
from flax_runtime.parameters import Tree, flatten, module_state, unflatten
from flax_runtime.saving import CheckpointSaving

MANY_LAYERS = 512  # more than any published model has
DEVICE_KINDS = {"gpu": "cuda"}  # jax's name of the platform → ours; rocm and cuda both say gpu to older jax


class FlaxPreTrainedModel(CheckpointSaving):
    """Base of every Flax model; a model names its config, module and key map, and writes out `__call__`."""

    framework: ClassVar[str] = "flax"
    config_class: ClassVar[type[PretrainedConfig]]
    module_class: ClassVar[Callable[..., nnx.Module]]
    """Called as `module_class(config, dtype=, param_dtype=, attend=, rngs=)`."""

    keymap: ClassVar[KeyMap]
    base_model_prefix: ClassVar[str] = ""
    """Attribute of the backbone in the module; empty for a backbone itself."""

    may_be_fresh: ClassVar[tuple[str, ...]] = ()
    """Paths of the backbone that a checkpoint may lack."""

    implemented: ClassVar[Mapping[str, Any]] = {}
    """Fields of the config whose other values mean a network that this class does not build."""

    load_report: LoadReport | None = None
    """What loading did; None for a model that was not loaded."""

    def __init__(
        self,
        config: PretrainedConfig,
        input_shape: tuple[int, int] = (1, 1),
        seed: int = 0,
        dtype: Any = jnp.float32,
        *,
        param_dtype: Any = jnp.float32,
        backend: str = "auto",
    ) -> None:
        """A model with fresh parameters, drawn from `seed`.

        `dtype` is the type of the computation, `param_dtype` that of the parameters; `input_shape` (batch, tokens) is
        kept for callers and has no effect. Raises InputError when the config is of another class,
        BackendUnavailableError when `backend` cannot run here.
        """
        self._set_up(config, input_shape=input_shape, seed=seed, dtype=dtype, param_dtype=param_dtype, backend=backend)
        self._params = unflatten(self._fresh(self._abstract))

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | Location,
        *,
        config: PretrainedConfig | None = None,
        dtype: Any = jnp.float32,
        param_dtype: Any = jnp.float32,
        seed: int = 0,
        backend: str = "auto",
        strict: bool = False,
        ignore_mismatched_sizes: bool = False,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        resolution: Resolution | None = None,
        **options: Any,
    ) -> Self:
        """The model in a checkpoint.

        `dtype` is the type of the computation, `param_dtype` that of the parameters (tensors are cast to it);
        `options` are those of `locate`, such as `revision`, and fields of the config. With `strict`, nothing may be
        missing or left over; with `ignore_mismatched_sizes`, parameters of another shape start afresh from `seed`.
        `variant`, `use_safetensors`, `from_pt` and `from_flax` choose among several weights (see `Checkpoint.open`).
        `resolution` is how an auto class came here. Raises CheckpointError, ConfigError, BackendUnavailableError, or
        UnknownArgumentError; a checkpoint that does not fit is refused before anything is allocated.
        """
        started = time.perf_counter()
        where, overrides = split_options(options)
        location = locate(name, **where)
        config = cls._loading_config(location, config, overrides)
        choice: dict[str, Any] = {"use_safetensors": use_safetensors, "from_pt": from_pt, "from_flax": from_flax}
        checkpoint = open_checkpoint(location, variant=variant, **choice)
        _check_layers(config, checkpoint, location)
        model = cls.__new__(cls)
        model._set_up(config, input_shape=(1, 1), seed=seed, dtype=dtype, param_dtype=param_dtype, backend=backend)
        plan = make_plan(
            checkpoint,
            model._abstract_parameters(),
            cls.keymap,
            backbone=cls.base_model_prefix,
            may_be_fresh=cls.may_be_fresh,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            strict=strict,
            source=location.name,
            naming=checkpoint.naming,
        )
        model._fill(plan)
        model.load_report = LoadReport.of(
            plan,
            source=location.name,
            files=checkpoint.files,
            seconds=time.perf_counter() - started,
            plugin=str(resolution.entry.plugin) if resolution else "",
            backend=model.backend_report,
        )
        return model

    @classmethod
    def _loading_config(
        cls, location: Location, config: PretrainedConfig | None, overrides: Mapping[str, Any]
    ) -> PretrainedConfig:
        """The config that was given, or the checkpoint's, with the fields that were overridden."""
        if config is None:
            config = cls.config_class.from_dict(location.config, name_or_path=location.name)
        cls._check_config(config)
        elsewhere = {*parameters(FlaxPreTrainedModel.from_pretrained), *OPTIONS, "framework", "plugin"}
        refuse_unknown(cls.__name__, overrides, cls.config_class.field_names(), elsewhere=elsewhere)
        return config.copy_with(**overrides)

    @classmethod
    def _check_config(cls, config: object) -> None:
        if not isinstance(config, cls.config_class):
            raise InputError(f"{cls.__name__} needs a {cls.config_class.__name__}, not a {type(config).__name__}.")
        for field, value in cls.implemented.items():
            if (found := getattr(config, field)) != value:
                raise UnsupportedConfigError(
                    f"{cls.__name__} is implemented for {field}={value!r} only; the config has {found!r}."
                )

    def _abstract_parameters(self) -> dict[str, AbstractParameter]:
        return {
            path: AbstractParameter(shape=leaf.shape, dtype=np.dtype(leaf.dtype))
            for path, leaf in self._abstract.items()
        }

    def _fill(self, plan: Plan) -> None:
        """Carries a plan out: tensors are placed, fresh parameters are drawn."""
        new = {path: self._abstract[path] for path in (*plan.fresh, *plan.mismatched)}
        arrays = {**fill(plan), **self._fresh(new)}
        self._params = unflatten({path: arrays[path] for path in self._abstract})

    def _set_up(
        self,
        config: PretrainedConfig,
        *,
        input_shape: tuple[int, int],
        seed: int,
        dtype: Any,
        param_dtype: Any,
        backend: str,
    ) -> None:
        self._check_config(config)
        self._config = config.copy_with()
        self.input_shape = input_shape
        self.seed = seed
        self.dtype = _floating("dtype", dtype)
        self.param_dtype = _floating("param_dtype", param_dtype)
        self.backend_report = _choose_backend(backend, self.dtype)
        self._graphdef, self._abstract = self._outline()
        self._run = jax.jit(self._forward, static_argnames=("train", "flags"))

    def _outline(self) -> tuple[Any, dict[str, jax.ShapeDtypeStruct]]:
        """The graph of modules, and the shapes and types of its parameters by path; nothing is allocated.

        The graph leaves the trace by the side: `nnx.eval_shape` would put the modules together again, only to be split.
        """
        graphs: list[Any] = []

        def build() -> dict[str, Any]:
            graphdef, state = nnx.split(self._build(jax.random.key(0), abstract=True))
            graphs.append(graphdef)
            return flatten(nnx.to_pure_dict(state))

        shapes: dict[str, jax.ShapeDtypeStruct] = jax.eval_shape(build)
        return graphs[0], shapes

    def _build(self, key: jax.Array, *, abstract: bool = False) -> nnx.Module:
        chosen = self.backend_report.chosen
        attend: AttentionFunction = load_reference(chosen.table.implementation, chosen.plugin)
        return self.module_class(
            self._config,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            attend=attend,
            rngs=Keys(key, abstract=abstract),
        )

    def _fresh(self, wanted: Mapping[str, Any]) -> dict[str, jax.Array]:
        """New values for some parameters, as if the whole model were drawn from the seed."""
        if not wanted:
            return {}

        def draw(key: jax.Array) -> dict[str, jax.Array]:
            drawn = flatten(nnx.to_pure_dict(nnx.state(self._build(key))))
            return {path: drawn[path] for path in wanted}

        # All of them are drawn one by one, which compiles once for each shape: one program for hundreds of draws takes
        # minutes to compile. A few of many are drawn by one program, in which the others are never computed.
        whole = len(wanted) == len(self._abstract)
        fresh: dict[str, jax.Array] = (draw if whole else jax.jit(draw))(jax.random.key(self.seed))
        return fresh

    @property
    def config(self) -> PretrainedConfig:
        """The model's own copy of its config."""
        return self._config

    @property
    def module(self) -> nnx.Module:
        """A live NNX module with the current parameters; changing it does not change the model."""
        module: nnx.Module = nnx.merge(self._graphdef, module_state(self._params))
        return module

    @property
    def params(self) -> Tree:
        """The parameters: nested dicts, named as in transformers' Flax trees."""
        return self._params

    @params.setter
    def params(self, params: Mapping[str, Any]) -> None:
        self._params = self._checked(params)

    def _checked(self, params: Mapping[str, Any]) -> Tree:
        flat = flatten(params)
        missing = [path for path in self._abstract if path not in flat]
        wrong = [
            f"{path} has shape {list(np.shape(flat[path]))}, not {list(leaf.shape)}"
            for path, leaf in self._abstract.items()
            if path in flat and np.shape(flat[path]) != leaf.shape
        ]
        if missing or wrong:
            lines = [f"missing: {listed(missing, limit=4)}"] if missing else []
            raise CheckpointMismatchError(
                "\n".join(["These parameters do not fit the model:", *lines, *wrong[:4]]), trace=[*missing, *wrong]
            )
        return unflatten({path: jnp.asarray(leaf) for path, leaf in flat.items()})

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """Paths that a tree of parameters must have, as tuples of keys."""
        return {tuple(path.split(".")) for path in self._abstract}

    @property
    def params_shape_tree(self) -> Tree:
        """The tree of parameters with shapes and types in place of values."""
        return unflatten(self._abstract)

    def num_parameters(self) -> int:
        """Count of single numbers in all parameters."""
        return sum(leaf.size for leaf in self._abstract.values())

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

        Differentiable, and usable inside jit, grad and vmap. Raises InputError for `train` without `dropout_rng`.
        """
        if train and dropout_rng is None:
            raise InputError("train=True needs a key: pass dropout_rng=jax.random.key(…).")
        values = self._params if params is None else params
        return self._run(values, dict(inputs), dropout_rng, train=train, flags=tuple(sorted(flags.items())))

    def _forward(
        self,
        params: Mapping[str, Any],
        inputs: dict[str, Any],
        dropout_rng: jax.Array | None,
        *,
        train: bool,
        flags: tuple[tuple[str, bool], ...],
    ) -> Any:
        module: Any = nnx.merge(self._graphdef, module_state(params))
        rngs = nnx.Rngs(dropout=dropout_rng) if train and dropout_rng is not None else None
        return module(**inputs, rngs=rngs, **dict(flags))


def _check_layers(config: PretrainedConfig, checkpoint: Checkpoint, location: Location) -> None:
    """Each layer has a tensor at least; checked first, because building many layers takes long, even without values."""
    layers = getattr(config, "num_hidden_layers", 0)
    if layers > max(len(checkpoint), MANY_LAYERS):
        raise CheckpointMismatchError(
            f"The config of {location.name} has {layers} layers; its weight files have {len(checkpoint)} tensors."
        )


def _choose_backend(asked: str, dtype: np.dtype) -> BackendReport:
    device = jax.devices()[0]
    kind = DEVICE_KINDS.get(device.platform, device.platform)
    found = getattr(device, "compute_capability", None)  # "9.0" on CUDA, absent elsewhere
    capability = round(float(found) * 10) if kind == "cuda" and found else None
    return choose_backend(load_catalog(), "flax", asked, dtype=dtype.name, devices=(kind,), capability=capability)


def _floating(what: str, dtype: Any) -> np.dtype:
    try:
        found: np.dtype = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(f"{what} is {dtype!r}, which is not a type of numbers.") from error
    if not jnp.issubdtype(found, jnp.floating):
        raise InputError(f"{what} is {found.name}; models compute in floating-point types.")
    return found
