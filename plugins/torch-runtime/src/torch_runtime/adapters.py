"""Adapters of a model: loaded, switched, merged into its weights and taken out again, saved."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from automodels.checkpoint.keymap import KeyMap
from automodels.errors import CheckpointMismatchError, InputError, listed, nearest
from torch_runtime.adapter_files import PREFIX, AdapterConfig, AdapterTensors, read_adapter, write_adapter
from torch_runtime.lora import LoraFactors, adapt, remove
from torch_runtime.parameters import Held, as_module, held
from torch_runtime.quantization import is_quantized
from torch_runtime.tensors import as_source, as_torch


@dataclass(kw_only=True)
class Adapter:
    """An adapter that a model has loaded."""

    config: AdapterConfig
    layers: dict[str, LoraFactors]
    """Path of a layer → its factors."""

    names: dict[str, str]
    """Path of a layer → what the adapter's file calls it."""

    replaced: dict[str, str] = field(default_factory=dict)
    """Parameter of the model that has the adapter's value → its key in the adapter's file."""

    others: dict[str, Tensor] = field(default_factory=dict)
    """The value that such a parameter does not have now: the base's, or the adapter's while it is disabled."""

    originals: dict[str, Tensor] = field(default_factory=dict)
    """Path of a layer → its weight from before the adapter was merged."""

    is_enabled: bool = True
    is_merged: bool = False
    """Whether its factors are part of the model's weights."""

    @property
    def changes_results(self) -> bool:
        """Whether the model computes something else than its weights say."""
        return self.is_enabled and not self.is_merged


class AdapterMethods:
    """Adapters of the kind LORA, in PEFT's format; those that are enabled add up."""

    keymap: KeyMap
    base_model_prefix: ClassVar[str]
    adapters: dict[str, Adapter]

    def load_adapter(
        self, path: str | os.PathLike[str], adapter_name: str = "default", *, is_trainable: bool = False
    ) -> None:
        """Loads the adapter in a folder and enables it; the model's own weights stay.

        Its factors ask for gradients with `is_trainable`. Parameters that were trained as a whole, such as a head's,
        take the adapter's values while it is enabled. Raises CheckpointMismatchError, naming what does not fit, for an
        adapter of another model, UnsupportedConfigError for kinds that are not implemented, InputError for a name that
        is taken or two adapters with values of one parameter; then the model is as it was.
        """
        if not adapter_name or "." in adapter_name:
            raise InputError(f"adapter_name is {adapter_name!r}; a name has no dots.")
        if adapter_name in self.adapters:
            raise InputError(f"There is an adapter {adapter_name!r} already.", hints=["delete_adapter() removes it."])
        config, tensors = read_adapter(path)
        self._refuse_far_parameters("given an adapter")
        fit = _Fit(as_module(self), config, tensors, self.base_model_prefix, self.keymap.prefix)
        fit.check(os.fspath(path))
        taken = [name for other in self.adapters.values() for name in other.replaced if name in fit.replaced]
        if taken:
            raise InputError(f"Another adapter has a value for {taken[0]} too; only one of them can be loaded.")
        keys = {parameter: tensors.replaced[name].name for parameter, name in fit.replaced.items()}
        adapter = Adapter(config=config, layers={}, names=fit.names, replaced=keys)
        for layer, name in fit.names.items():
            adapter.layers[layer] = _factors(fit.modules[layer], name, config, tensors, is_trainable)
        own = held(as_module(self))
        for parameter, name in fit.replaced.items():
            adapter.others[parameter] = _like(as_torch(tensors.replaced[name]), own[parameter].tensor)
        for layer, factors in adapter.layers.items():
            adapt(fit.modules[layer], adapter_name, factors)
        self.adapters = {**self.adapters, adapter_name: adapter}
        self._swap(adapter)

    def delete_adapter(self, adapter_name: str = "default") -> None:
        """Takes an adapter away; the model is as it was before it was loaded."""
        adapter = self._adapter(adapter_name)
        self._disable(adapter)
        for layer in adapter.layers:
            remove(as_module(self).get_submodule(layer), adapter_name)
        self.adapters = {name: other for name, other in self.adapters.items() if name != adapter_name}

    @property
    def active_adapters(self) -> list[str]:
        """Names of the adapters that are enabled."""
        return [name for name, adapter in self.adapters.items() if adapter.is_enabled]

    def disable_adapters(self) -> None:
        """Computes without any adapter from now on; merged ones are taken out of the weights."""
        for adapter in self.adapters.values():
            self._disable(adapter)

    def enable_adapters(self) -> None:
        """Computes with all adapters again."""
        for adapter in self.adapters.values():
            self._enable(adapter)

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """Computes with the named adapters from now on and without all others. Raises InputError for unknown names."""
        names = [adapter_name] if isinstance(adapter_name, str) else list(adapter_name)
        for name in names:
            self._adapter(name)
        for name, adapter in self.adapters.items():
            if name in names:
                self._enable(adapter)
            else:
                self._disable(adapter)

    def merge_adapter(self) -> None:
        """Adds all enabled adapters to the weights: calls are as fast as without, and `save_pretrained` saves the sum.

        The weights from before are kept for `unmerge_adapter`; those that lie in a mapped file take no memory. Raises
        InputError, before anything is changed, when a weight is quantised, or tied to another one, which would be
        changed along.
        """
        model = as_module(self)
        merging = [adapter for adapter in self.adapters.values() if adapter.changes_results]
        layers = {layer: model.get_submodule(layer) for adapter in merging for layer in adapter.layers}
        places = {id(found.tensor): found for found in held(model).values()}
        for layer, module in layers.items():
            weight: Any = module.weight
            if is_quantized(weight):
                raise InputError(
                    f"{layer} is quantised: no adapter can be merged into it.", hints=["model.dequantize()"]
                )
            if len(places[id(weight)].places) > 1:
                raise InputError(f"{layer} is tied to another layer, which a merge would change along.")
        for adapter in merging:
            for layer, factors in adapter.layers.items():
                found: Any = layers[layer]
                adapter.originals[layer] = found.weight.detach()
                changed = found.weight.detach() + factors.delta().to(found.weight.dtype)
                found.weight = nn.Parameter(changed, requires_grad=found.weight.requires_grad)
            adapter.is_merged = True
            self._set_active(adapter, is_active=False)

    def unmerge_adapter(self) -> None:
        """Puts back, bit by bit, the weights from before `merge_adapter`; the adapters add to results again."""
        for adapter in reversed(self.adapters.values()):
            if adapter.is_merged:
                self._unmerge(adapter)
                self._set_active(adapter, is_active=adapter.is_enabled)

    def save_adapter(self, save_directory: str | os.PathLike[str], adapter_name: str = "default") -> None:
        """Writes an adapter in PEFT's format, all or nothing. Raises CheckpointWriteError, InputError."""
        adapter = self._adapter(adapter_name)
        tensors = {}
        for layer, factors in adapter.layers.items():
            ends = ("lora_embedding_A", "lora_embedding_B") if factors.is_table else ("lora_A.weight", "lora_B.weight")
            for end, factor in zip(ends, (factors.a, factors.b), strict=True):
                tensors[f"{PREFIX}{adapter.names[layer]}.{end}"] = as_source(factor)
        own = held(as_module(self))
        for parameter, key in adapter.replaced.items():
            value = own[parameter].tensor if adapter.is_enabled else adapter.others[parameter]
            tensors[key] = as_source(value)
        write_adapter(save_directory, adapter.config.raw, tensors)

    def _adapter(self, name: str) -> Adapter:
        if name not in self.adapters:
            guess = nearest(name, self.adapters)
            known = f"did you mean {guess!r}?" if guess else f"there are {listed(self.adapters) or 'none'}."
            raise InputError(f"There is no adapter {name!r}; {known}")
        return self.adapters[name]

    def _enable(self, adapter: Adapter) -> None:
        if adapter.is_enabled:
            return
        adapter.is_enabled = True
        self._set_active(adapter, is_active=True)
        self._swap(adapter)

    def _disable(self, adapter: Adapter) -> None:
        if not adapter.is_enabled:
            return
        if adapter.is_merged:
            self.unmerge_adapter()  # of all: the weights from before are those that the first one met
        self._set_active(adapter, is_active=False)
        self._swap(adapter)
        adapter.is_enabled = False

    def _unmerge(self, adapter: Adapter) -> None:
        for layer, weight in adapter.originals.items():
            found: Any = as_module(self).get_submodule(layer)
            found.weight = nn.Parameter(weight.to(found.weight.device), requires_grad=found.weight.requires_grad)
        adapter.originals = {}
        adapter.is_merged = False

    def _swap(self, adapter: Adapter) -> None:
        """The base's values in place of the adapter's, or the other way round."""
        own = held(as_module(self))
        for parameter, value in adapter.others.items():
            found = own[parameter]
            adapter.others[parameter] = found.tensor.detach()
            found.put(_like(value, found.tensor))

    def _set_active(self, adapter: Adapter, *, is_active: bool) -> None:
        for factors in adapter.layers.values():
            factors.is_active = is_active

    def _refuse_far_parameters(self, what: str) -> None:
        raise NotImplementedError("VocabularyMethods, which comes first, has it")


class _Fit:
    """Which layers and parameters of a model an adapter's tensors belong to."""

    def __init__(
        self, model: nn.Module, config: AdapterConfig, tensors: AdapterTensors, backbone: str, prefix: str
    ) -> None:
        self.config = config
        self.tensors = tensors
        self.modules = dict(model.named_modules())
        self.own: dict[str, Held] = held(model)
        self._prefixes = ("", f"{backbone}." if backbone else "")
        self._removed = prefix
        self._model = type(model).__name__
        self.culprits: list[str] = []
        self.names = {self._placed(name, self.modules): name for name in tensors.factors}
        self.replaced = {self._placed(name, self.own): name for name in tensors.replaced}

    def check(self, source: str) -> None:
        """Raises CheckpointMismatchError with every culprit."""
        found = list(self._problems())
        if found:
            lines = [f"The adapter {source} does not fit {self._model}:", *(f"    {line}" for line in found[:4])]
            lines += [f"    … and {len(found) - 4} more"] if len(found) > 4 else []
            raise CheckpointMismatchError("\n".join(lines), hints=["Is it for another model?"], trace=found)

    def _placed(self, name: str, known: Any) -> str:
        """The model's path of a name in the file: with or without the backbone's own name in front."""
        spellings = (*(f"{prefix}{name}" for prefix in self._prefixes), name.removeprefix(self._removed))
        return next((spelling for spelling in spellings if spelling in known), name)

    def _problems(self) -> Any:
        for layer, name in self.names.items():
            module = self.modules.get(layer)
            is_table = name in self.tensors.tables
            if module is None:
                yield f"{layer}: the model has no such module"
            elif not isinstance(module, nn.Embedding if is_table else nn.Linear):
                yield f"{layer}: a {type(module).__name__} is not adapted"
            else:
                yield from self._shapes(layer, name, tuple(module.weight.shape), is_table)
        for parameter, name in self.replaced.items():
            if parameter not in self.own:
                yield f"{parameter}: the model has no such parameter"
            elif not (self.config.saves(name) or name in self.tensors.bases):
                yield f"{parameter}: the adapter's config does not say that it is in the file"
            elif tuple(self.own[parameter].tensor.shape) != self.tensors.replaced[name].shape:
                here = list(self.own[parameter].tensor.shape)
                yield f"{parameter} has shape {list(self.tensors.replaced[name].shape)}, the model needs {here}"
        for path, module in self.modules.items():
            if isinstance(module, nn.Linear) and self.config.targets(path) and path not in self.names:
                yield f"{path}: the adapter has no factors for it"

    def _shapes(self, layer: str, name: str, weight: tuple[int, ...], is_table: bool) -> Any:
        rank = self.config.rank(name)
        found = tuple(self.tensors.factors[name][factor].shape for factor in "ab")
        outputs, inputs = weight[::-1] if is_table else weight
        if found != ((rank, inputs), (outputs, rank)):
            needed = f"{[rank, inputs]} and {[outputs, rank]}"
            yield f"{layer} has factors {list(found[0])} and {list(found[1])}, the model needs {needed}"


def _factors(module: Any, name: str, config: AdapterConfig, tensors: AdapterTensors, is_trainable: bool) -> LoraFactors:
    a, b = (_like(as_torch(tensors.factors[name][factor]), module.weight) for factor in "ab")
    return LoraFactors(
        a,
        b,
        scale=config.scale(name),
        dropout=config.lora_dropout,
        is_table=name in tensors.tables,
        is_trainable=is_trainable,
    ).train(module.training)


def _like(tensor: Tensor, other: Tensor) -> Tensor:
    return tensor.to(device=other.device, dtype=other.dtype)
