"""Where each parameter of a model goes: one device, or what a `device_map` says.

Splitting a model among devices, and keeping parts of it in main memory or on disk until they are needed, is
accelerate's work; a single device needs nothing but torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from automodels.errors import InputError, nearest
from torch_runtime.optional_libraries import needed
from torch_runtime.tensors import default_device

Map = Mapping[str, str | int | torch.device]
STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")
CPU, DISK = "cpu", "disk"


@dataclass(frozen=True)
class Placement:
    """Module → device, "cpu" or "disk"; the empty name is the whole model."""

    devices: dict[str, torch.device | str]

    @property
    def is_single(self) -> bool:
        """Whether all of the model is on one device, so that nothing has to move during a call."""
        return len(set(map(str, self.devices.values()))) == 1 and DISK not in self.devices.values()

    def of(self, name: str) -> torch.device | str:
        """Where a parameter goes: the device of the innermost module that the map names; InputError without one."""
        inside = name
        while inside not in self.devices:
            if not inside:
                raise _without_place([name])
            inside = inside.rpartition(".")[0]
        return self.devices[inside]

    @property
    def main(self) -> torch.device:
        """Where calls begin: the first accelerator of the map, or the CPU."""
        found = [torch.device(device) for device in self.devices.values() if device != DISK]
        return next((device for device in found if device.type != CPU), torch.device(CPU))


def placement(
    model: nn.Module, device_map: Any, *, max_memory: Mapping[Any, Any] | None = None, no_split: tuple[str, ...] = ()
) -> Placement:
    """The placement that a `device_map` means, checked against the model, which has no memory yet.

    A device or its name or number, a strategy ("auto" and so on), or a mapping of modules; None is torch's default
    device. Raises InputError for modules and devices that are not there, and for what has no place;
    MissingDependencyError where accelerate is needed and absent.
    """
    if isinstance(device_map, str) and device_map in STRATEGIES:
        return _planned(model, device_map, max_memory, no_split)
    if max_memory is not None:
        raise InputError(f"max_memory belongs to a device_map that is planned: one of {', '.join(STRATEGIES)}.")
    if device_map is None:
        return Placement({"": default_device()})
    if not isinstance(device_map, Mapping):
        return Placement({"": usable_device(device_map)})
    if not device_map:
        raise InputError("device_map is empty.", hints=['Pass {"": "cpu"}, a device, or "auto".'])
    devices = {
        name: DISK if where == DISK else usable_device(where, what=f"device_map[{name!r}]")
        for name, where in device_map.items()
    }
    _check_modules(model, devices)
    found = Placement(devices)
    _check_split(model, found, no_split)
    return found


def parts(model: nn.Module, placed: Placement) -> dict[str, torch.device | str]:
    """Module or parameter → where it goes, in as few entries as there can be of which none holds another."""
    found: dict[str, torch.device | str] = {}

    def visit(module: nn.Module, path: str) -> None:
        inside = {placed.of(name) for name in _names(module, path)}
        if len(inside) == 1:
            found[path] = inside.pop()
            return
        for name in (*module._parameters, *module._buffers):
            found[_below(path, name)] = placed.of(_below(path, name))
        for name, child in module.named_children():
            visit(child, _below(path, name))

    visit(model, "")
    return found


def _names(module: nn.Module, path: str) -> list[str]:
    own = (*module.named_parameters(remove_duplicate=False), *module.named_buffers())
    return [_below(path, name) for name, _ in own]


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def expand_device_map(device_map: Mapping[str, Any], param_names: Iterable[str]) -> dict[str, Any]:
    """Parameter → where it goes, for a map of modules; parameters that no module of the map has are left out."""
    found: dict[str, Any] = {}
    for name in param_names:
        parents = [name]
        while parents[-1]:
            parents.append(parents[-1].rpartition(".")[0])
        near = next((parent for parent in parents if parent in device_map), None)
        if near is not None:
            found[name] = device_map[near]
    return found


def get_disk_only_shard_files(device_map: Mapping[str, Any], weight_map: Mapping[str, str]) -> list[str]:
    """Files of which nothing is needed in memory: everything in them stays on disk.

    `device_map` is of modules, `weight_map` tells the file of each tensor, as an index does.
    """
    places = expand_device_map(device_map, weight_map)
    files: dict[str, set[Any]] = {}
    for name, file in weight_map.items():
        files.setdefault(file, set()).add(places.get(name))
    return [file for file, found in files.items() if found == {DISK}]


def usable_device(value: Any, *, what: str = "device_map") -> torch.device:
    """The device; raises InputError when torch knows none of this name, or this machine has none."""
    try:
        device = torch.device(f"cuda:{value}" if isinstance(value, int) and not isinstance(value, bool) else value)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"{what} is {value!r}, which is no device.",
            hints=[f'Pass "cpu", "cuda:0", "disk", or for the whole model one of {", ".join(STRATEGIES)}.'],
        ) from error
    if device.type == "meta":
        raise InputError(f"{what} is meta, where nothing has values.")
    if device.type == CPU:
        return device
    module = getattr(torch, device.type, None)
    count = module.device_count() if module is not None and module.is_available() else 0
    if (device.index or 0) >= count:
        raise InputError(f"{what} is {str(device)!r}; this machine has {count or 'no'} {device.type} devices.")
    return device


def _check_modules(model: nn.Module, devices: Mapping[str, Any]) -> None:
    everything = (
        *model.named_modules(),
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    )
    names = {name for name, _ in everything}
    for name in devices:
        if name not in names:
            guess = nearest(name, sorted(names))
            known = f"; did you mean {guess!r}?" if guess else "."
            raise InputError(f"device_map names {name!r}, which is no module of {type(model).__name__}{known}")
    found = Placement({"": "nowhere", **devices})
    held = (*model.named_parameters(), *model.named_buffers())
    lost = [name for name, _ in held if found.of(name) == "nowhere"]
    if lost:
        raise _without_place(lost)


def _without_place(names: Sequence[str]) -> InputError:
    return InputError(
        f"device_map has no place for {names[0]}" + (f" and {len(names) - 1} more." if len(names) > 1 else "."),
        hints=['Add "": "cpu" for all that is not named.'],
    )


def _check_split(model: nn.Module, placed: Placement, no_split: tuple[str, ...]) -> None:
    """Raises InputError for a module in two places that has to be in one, and for tied parameters apart on disk."""
    for path, module in model.named_modules():
        places = {placed.of(name) for name in _names(module, path)}
        if type(module).__name__ in no_split and len(places) > 1:
            raise InputError(
                f"device_map splits {path}, a {type(module).__name__}, which has to be in one place.",
                hints=[f"Name {path} as a whole."],
            )
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if placed.of(name) != placed.of(first) and DISK in (placed.of(name), placed.of(first)):
            raise InputError(
                f"device_map puts only one of {first} and {name} on disk; they are tied, so both have to be."
            )


def _planned(
    model: nn.Module, strategy: str, max_memory: Mapping[Any, Any] | None, no_split: tuple[str, ...]
) -> Placement:
    with needed("accelerate", f'device_map="{strategy}"'):
        import accelerate
    try:
        memory = accelerate.utils.get_max_memory(dict(max_memory) if max_memory else None)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"max_memory is {max_memory!r}: {error}", hints=['For example {0: "10GiB", "cpu": "30GiB"}.']
        ) from error
    if strategy != "sequential":
        memory = accelerate.utils.get_balanced_memory(
            model, memory, no_split_module_classes=list(no_split), low_zero=strategy == "balanced_low_0"
        )
    planned = accelerate.infer_auto_device_map(model, memory, no_split_module_classes=list(no_split))
    return Placement({name: DISK if where == DISK else usable_device(where) for name, where in planned.items()})


def writable_folder(folder: str | os.PathLike[str] | None, why: str) -> str:
    """The folder, made if need be; raises InputError when there is none or nothing can be written into it."""
    if folder is None:
        raise InputError(f"{why} needs offload_folder, a directory with room for it.")
    path = os.fspath(folder)
    try:
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, ".automodels-probe"), "wb"):
            pass
        os.unlink(os.path.join(path, ".automodels-probe"))
    except OSError as error:
        raise InputError(f"offload_folder {path!r} cannot be written to: {error.strerror}.") from error
    return path
