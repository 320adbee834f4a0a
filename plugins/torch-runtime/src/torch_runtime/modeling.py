"""TorchPreTrainedModel: a torch module with a config, and all that its known methods do.

What it can do stands in the mixins, one idea in each file; here it is made, loaded and registered.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import nn

from automodels.arguments import parameters
from automodels.backends import AUTO, BackendReport
from automodels.checkpoint.formats import Naming
from automodels.checkpoint.keymap import KeyMap
from automodels.checkpoint.locate import Location
from automodels.checkpoint.opening import open_checkpoint
from automodels.checkpoint.plan import Plan
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.report import LoadReport
from automodels.config import PretrainedConfig
from automodels.errors import InputError
from automodels.plugins.resolve import Resolution
from automodels.runtime.loading import (
    again_if_saved,
    located_with_config,
    overridden,
    plan_for,
    refuse_many_layers,
    warn_of_fresh,
)
from automodels.runtime.ties import check_ties
from torch_runtime.adapters import Adapter, AdapterMethods
from torch_runtime.attend import Attend
from torch_runtime.attention_choice import AttentionChoice, asked_backend, execution_of
from torch_runtime.buffers import remake_buffers
from torch_runtime.calling import refuse_unknown_arguments
from torch_runtime.counting import CountMethods
from torch_runtime.devices import backend_here
from torch_runtime.filling import fill
from torch_runtime.flax_names import flax_keymap
from torch_runtime.generation.methods import GenerationMethods
from torch_runtime.given_tensors import STATE_DICT, given_checkpoint
from torch_runtime.initialising import InitMethods, is_initialising, refresh
from torch_runtime.mask_methods import MaskMethods
from torch_runtime.memory_hooks import MemoryHooks
from torch_runtime.offloading import dispatch, offload_files, offload_fresh, on_disk
from torch_runtime.outline import outlining
from torch_runtime.parameters import abstract_parameters, held
from torch_runtime.placing import Placement, placement
from torch_runtime.pruning import PruningMethods
from torch_runtime.quantization import Quantization, QuantizationMethods, quantization_asked
from torch_runtime.saving import CheckpointSaving
from torch_runtime.tensors import TORCH_DTYPES, default_device, floating_dtype
from torch_runtime.training_methods import TrainingMethods
from torch_runtime.vocabulary import VocabularyMethods, ties

logger = logging.getLogger("automodels")


class TorchPreTrainedModel(  # the first one that has a method decides, so those that others build on come first
    InitMethods,
    CheckpointSaving,
    VocabularyMethods,
    PruningMethods,
    AttentionChoice,
    AdapterMethods,
    QuantizationMethods,
    TrainingMethods,
    MaskMethods,
    CountMethods,
    MemoryHooks,
    GenerationMethods,
    nn.Module,
):
    """Base of every PyTorch model; a model names its config and key map, and writes out `__init__` and `forward`."""

    framework: ClassVar[str] = "torch"
    spelling: ClassVar[Mapping[str, Any]] = {}
    """How the family's tensors are spelled in checkpoints; names of parameters are names of tensors."""

    no_split_modules: ClassVar[tuple[str, ...]] = ()
    """Names of module classes that a `device_map` keeps on one device: those with a residual sum inside."""

    load_report: LoadReport | None = None
    """What loading did; None for a model that was not loaded."""

    device_map: dict[str, Any] | None = None
    """Where its modules are, for a model on several devices."""

    def __init__(self, config: PretrainedConfig, *, backend: str | BackendReport = "auto") -> None:
        """A model without modules; the subclass adds them and calls `post_init()`.

        `backend` names an attention function, a way of executing, or both joined by `+`; a part of a model gets the
        model's own report. Raises InputError when the config is of another class, BackendUnavailableError when the
        backend cannot run here.
        """
        super().__init__()
        self.check_config(config)
        self.config = config.copy_with()
        is_whole = isinstance(backend, str)
        if isinstance(backend, str):
            backend = backend_here(backend, self.config, torch.get_default_dtype(), default_device())
        self.backend_report = backend
        self.attend = Attend.of(backend)
        if is_whole:
            self._run_by(execution_of(backend))
        self.adapters: dict[str, Adapter] = {}
        self.register_forward_pre_hook(refuse_unknown_arguments, with_kwargs=True)

    def post_init(self) -> None:
        """Draws fresh values, unless whoever makes the model fills it; the last line of every `__init__`."""
        if is_initialising():
            self._draw()
        self._ties = ties(self)
        names = [name.removeprefix(f"{self.base_model_prefix}.") for name in held(self)]
        # A backbone whose family names no prefix: this is what heads that stand on any backbone call it.
        prefix = "" if any(name.startswith("backbone.") for name in names) else "backbone."
        self.keymap = KeyMap.same(names, **{"prefix": prefix, **self.spelling})

    @classmethod
    def from_config(cls, config: PretrainedConfig, **making: Any) -> Self:
        """A model with fresh parameters."""
        return cls(config, **making)

    @classmethod
    @again_if_saved
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | Location | None,
        *,
        config: PretrainedConfig | None = None,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        dtype: torch.dtype | str = "float32",
        backend: str = "auto",
        device_map: Any = None,
        max_memory: Any = None,
        offload_folder: str | os.PathLike[str] | None = None,
        strict: bool = False,
        ignore_mismatched_sizes: bool = False,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
        resolution: Resolution | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        quantization: str | Quantization | None = None,
        **options: Any,
    ) -> Self:
        """The model in a checkpoint, in evaluation mode.

        `dtype` is the type of the parameters and so of the computation: "auto" is the one that the config names, or
        else the one of the tensors. `device_map` says where parameters go: a device, a mapping of modules to devices,
        "cpu" and "disk", or "auto", "balanced", "balanced_low_0", "sequential" with `max_memory`; what goes to disk
        and does not lie in the checkpoint as it is needed is written into `offload_folder`. `options` are those of
        `locate`, such as `revision`, and fields of the config. With `strict`, nothing may be missing or left over;
        with `ignore_mismatched_sizes`, parameters of another shape start afresh. Fresh parameters are drawn with
        torch's random numbers and named in a warning. `variant`, `use_safetensors`, `from_pt` and `from_flax` choose
        among several weights (see `Checkpoint.open`). `quantization` "int8" keeps linear layers, but for heads, in int8
        (see `torch_runtime.quantization`). `resolution` is how an auto class came here. `torch_dtype` and
        `attn_implementation` are other names of `dtype` and `backend`.

        `state_dict`, tensors under the Hub's names, stands in for the weight files: they are copied, and nothing but
        config and options of generation is read. With `config`, `name` may then be None.

        On a CPU, tensors of the right type are used as they lie in the files: nothing is copied until it is changed.
        Raises CheckpointError, ConfigError, BackendUnavailableError, InputError, MissingDependencyError, or
        UnknownArgumentError; a checkpoint that does not fit is refused before anything is allocated.
        """
        started = time.perf_counter()
        asked = asked_backend(backend, attn_implementation)
        quantized = quantization_asked(quantization)
        known = parameters(TorchPreTrainedModel.from_pretrained)
        location = None
        if name is None:
            config = overridden(cls, config, options, known=known)
        else:
            location, config = located_with_config(cls, name, config, options, known=known)
        source = STATE_DICT if location is None else location.name
        choice = {"variant": variant, "use_safetensors": use_safetensors, "from_pt": from_pt, "from_flax": from_flax}
        checkpoint = _checkpoint(location, state_dict, choice)
        refuse_many_layers(config, checkpoint, source)
        chosen = _dtype(dtype if torch_dtype is None else torch_dtype, config, checkpoint)
        model = cls._outline(config, chosen, asked if device_map is None else AUTO)
        if location is not None:
            model._read_generation_config(location)
        placed = placement(model, device_map, max_memory=max_memory, no_split=cls.no_split_modules)
        if device_map is not None:  # only now it is known where calls begin
            model._compute_with(backend_here(asked, config, chosen, placed.main))
        if quantized is not None and not placed.is_single:
            raise InputError("quantization needs the whole model on one device.", hints=["Pass that as device_map."])
        plan = model._plan(checkpoint, source, strict=strict, ignore_mismatched_sizes=ignore_mismatched_sizes)
        near, index, folder = on_disk(plan, placed, offload_folder)
        warn_of_fresh(cls, plan, source)
        everything = held(model)
        fill(near, everything, lambda path: torch.device(placed.of(path)))
        refresh(model, (everything[path] for path in (*plan.fresh, *plan.mismatched)), placed.main)
        drawn = held(model)
        offload_fresh({path: drawn[path] for path in (*plan.fresh, *plan.mismatched)}, placed, index, folder)
        remake_buffers(model, placed.main)
        model.eval()
        if quantized is not None:
            model._quantize(quantized)
        model._place(placed, index, folder)
        model._run_by(execution_of(model.backend_report))
        logger.info("%s: backend %s on %s.", cls.__name__, model.backend_report.spec, model.backend_report.situation)
        model.load_report = LoadReport.of(
            plan,
            source=source,
            files=checkpoint.files,
            seconds=time.perf_counter() - started,
            plugin=str(resolution.entry.plugin) if resolution else "",
            backend=model.backend_report,
        )
        return model

    @classmethod
    def _outline(cls, config: PretrainedConfig, dtype: torch.dtype, backend: str) -> Self:
        """The model without memory."""
        before = torch.get_default_dtype()
        report = backend_here(backend, config, dtype, default_device())
        torch.set_default_dtype(dtype)
        try:
            with outlining():
                return cls(config, backend=report)
        finally:
            torch.set_default_dtype(before)

    def _plan(self, checkpoint: Checkpoint, source: str, *, strict: bool, **fitting: Any) -> Plan:
        """Which tensor fills which parameter; tied ones are the same where both are there."""

        def planned(model: Any, strict: bool) -> Plan:
            keymap = model._flax_keymap() if checkpoint.naming is Naming.FLAX else None
            abstract = abstract_parameters(model)
            return plan_for(model, abstract, checkpoint, source, strict=strict, keymap=keymap, **fitting)

        def untied_plan(config: PretrainedConfig) -> Plan:
            return planned(self._outline_of(config), False)

        plan = planned(self, strict)
        return check_ties(self, self.config, plan, checkpoint, source, strict=strict, untied_plan=untied_plan)

    def _flax_keymap(self) -> KeyMap:
        """How the parameters are called in a Flax tree; for a family to override whose trees differ in more."""
        alternates = self.spelling.get("alternates", ())
        return flax_keymap(self, self.base_model_prefix, self.keymap.prefix, alternates=alternates)

    def _outline_of(self, config: PretrainedConfig) -> Self:
        """The same model with another config, without memory."""
        with outlining():
            return type(self)(config, backend=self.backend_report)

    def _place(self, placed: Placement, index: dict[str, Any], folder: str | None) -> None:
        if placed.is_single:
            return
        self._offload_files = offload_files(index)
        self.device_map = dict(placed.devices)
        dispatch(self, placed, index, folder)


def _checkpoint(
    location: Location | None, state_dict: Mapping[str, torch.Tensor] | None, choice: Mapping[str, Any]
) -> Checkpoint:
    """The tensors to load: those that are given, or the weight files that `choice` chooses."""
    if state_dict is not None:
        return given_checkpoint(state_dict, choice)
    if location is None:
        raise InputError("name is None, and so is state_dict.", hints=["Pass the name of a checkpoint."])
    return open_checkpoint(location, **choice)


def _dtype(asked: torch.dtype | str, config: PretrainedConfig, checkpoint: Checkpoint) -> torch.dtype:
    if asked != "auto":
        return floating_dtype("dtype", asked)
    named = getattr(config, "dtype", None)
    if named is not None:
        return floating_dtype("dtype of the config", named)
    found = (TORCH_DTYPES.get(view.dtype.name) for view in checkpoint.values())
    return next((dtype for dtype in found if dtype is not None and dtype.is_floating_point), torch.float32)
