"""Models whose parts are on several devices, in main memory, or on disk: accelerate moves them as calls need them.

A tensor that goes to disk stays in the checkpoint when that is a safetensors file with the type that the model wants;
otherwise it is written into `offload_folder`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from automodels.checkpoint.keymap import SAME, TRANSPOSED
from automodels.checkpoint.plan import Assignment, Plan
from torch_runtime.placing import DISK, Placement, accelerate, parts, writable_folder
from torch_runtime.tensors import TORCH_DTYPES, as_torch, dtype_name


def on_disk(
    plan: Plan, placed: Placement, folder: str | os.PathLike[str] | None
) -> tuple[Plan, dict[str, dict[str, Any]], str | None]:
    """What is left to fill, accelerate's index of what is on disk, and the folder of it.

    Raises InputError when something has to be written and the folder does not allow it.
    """
    far = [found for found in plan.assignments if placed.of(found.parameter) == DISK]
    index = {found.parameter: _in_checkpoint(found) for found in far if _stays(found)}
    moved = [found for found in far if found.parameter not in index]
    path = writable_folder(folder, "Keeping parameters on disk") if moved or folder is not None else None
    if moved and path is not None:
        library = accelerate("Keeping parameters on disk")
        for found in moved:
            tensor = as_torch(found.tensor).to(TORCH_DTYPES[found.dtype.name])
            tensor = tensor.T.contiguous() if found.layout is TRANSPOSED else tensor
            index = library.utils.offload_weight(tensor, found.parameter, path, index)
        library.utils.save_offload_index(index, path)
    near = tuple(found for found in plan.assignments if placed.of(found.parameter) != DISK)
    return dataclasses.replace(plan, assignments=near), index, path


def dispatch(model: nn.Module, placed: Placement, index: Mapping[str, Any], folder: str | None) -> None:
    """Hooks that bring parts of the model to where they compute, and their inputs with them."""
    library = accelerate("A model on several devices")
    library.dispatch_model(
        model,
        device_map={name: where if where == DISK else str(where) for name, where in parts(model, placed).items()},
        main_device=str(placed.main),
        offload_dir=folder,
        offload_index=_with_ties(model, index) or None,
        skip_keys="past_key_values",
        preload_module_classes=list(getattr(model, "no_split_modules", ())),  # some use parameters of parts directly
        force_hooks=True,
    )


def _with_ties(model: nn.Module, index: Mapping[str, Any]) -> dict[str, Any]:
    """The index, in which a tied parameter stands under each of its names."""
    names: dict[int, str] = {}
    found = dict(index)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first in index:
            found[name] = {"weight_name": first, **index[first]}
    return found


def offloaded_value(model: nn.Module, path: str) -> torch.Tensor | None:
    """The value of a parameter that accelerate keeps elsewhere until it is needed; None when it keeps none."""
    for weights, rest in _kept(model, path):
        with contextlib.suppress(KeyError):
            value: torch.Tensor = weights[rest]
            return value
    return None


def keeps_value(model: nn.Module, path: str) -> bool:
    """Whether accelerate keeps a value for a parameter; nothing is read."""
    return any(f"{getattr(weights, 'prefix', '')}{rest}" in set(weights) for weights, rest in _kept(model, path))


def offload_files(index: Mapping[str, Any], folder: str | None) -> frozenset[str]:
    """Real paths of files that hold offloaded parameters."""
    files = {entry["safetensors_file"] for entry in index.values() if "safetensors_file" in entry}
    if folder is not None:
        files |= {
            os.path.join(folder, f"{name}.dat") for name, entry in index.items() if "safetensors_file" not in entry
        }
    return frozenset(map(os.path.realpath, files))


def _kept(model: nn.Module, path: str) -> Iterator[tuple[Any, str]]:
    """What hooks of the modules around a parameter read values from, and its name there; the innermost first."""
    parent, rest = path, ""
    while parent:
        parent, _, name = parent.rpartition(".")
        rest = f"{name}.{rest}" if rest else name
        hook = getattr(model.get_submodule(parent), "_hf_hook", None)
        hooks = () if hook is None else getattr(hook, "hooks", (hook,))  # one, or a chain
        for one in hooks:
            if (weights := getattr(one, "weights_map", None)) is not None:
                yield weights, rest


def _stays(found: Assignment) -> bool:
    is_safetensors = found.tensor.file.path.endswith(".safetensors")
    return is_safetensors and not found.is_cast and found.tensor.is_contiguous and found.layout is SAME


def _in_checkpoint(found: Assignment) -> dict[str, Any]:
    return {
        "safetensors_file": found.tensor.file.path,
        "weight_name": found.tensor.name,
        "dtype": dtype_name(TORCH_DTYPES[found.dtype.name]),
    }
