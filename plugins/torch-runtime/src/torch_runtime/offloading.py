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
from torch_runtime.optional_libraries import needed
from torch_runtime.parameters import Held
from torch_runtime.placing import DISK, Placement, parts, writable_folder
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
    fresh = [name for name in (*plan.fresh, *plan.mismatched) if placed.of(name) == DISK]
    path = writable_folder(folder, "Keeping parameters on disk") if moved or fresh or folder is not None else None
    if path is not None:
        index |= {found.parameter: _written(found, path) for found in moved}
    near = tuple(found for found in plan.assignments if placed.of(found.parameter) != DISK)
    return dataclasses.replace(plan, assignments=near), index, path


def offload_fresh(
    drawn: Mapping[str, Held], placed: Placement, index: dict[str, dict[str, Any]], folder: str | None
) -> None:
    """Writes fresh parameters that go to disk, and notes them in the index."""
    for name, found in drawn.items():
        if placed.of(name) == DISK and folder is not None:
            index[name] = _saved(found.tensor.detach(), name, folder)


def dispatch(model: nn.Module, placed: Placement, index: Mapping[str, Any], folder: str | None) -> None:
    """Hooks that bring parts of the model to where they compute, and their inputs with them."""
    with needed("accelerate", "A model on several devices"):
        import accelerate
    accelerate.dispatch_model(
        model,
        device_map={name: where if where == DISK else str(where) for name, where in parts(model, placed).items()},
        main_device=str(placed.main),
        offload_dir=folder,
        offload_index=_with_ties(model, index) or None,
        skip_keys="past_key_values",
        force_hooks=True,
    )


def _with_ties(model: nn.Module, index: Mapping[str, Any]) -> dict[str, Any]:
    """The index, in which a tied parameter stands under each of its names."""
    names: dict[int, str] = {}
    found = dict(index)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first in index:
            found[name] = index[first]
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


def offload_files(index: Mapping[str, Any]) -> frozenset[str]:
    """Real paths of files that hold offloaded parameters."""
    return frozenset(os.path.realpath(entry["safetensors_file"]) for entry in index.values())


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
    return _entry(found.tensor.file.path, found.tensor.name, TORCH_DTYPES[found.dtype.name])


def _written(found: Assignment, folder: str) -> dict[str, Any]:
    tensor = as_torch(found.tensor).to(TORCH_DTYPES[found.dtype.name])
    return _saved(tensor.T if found.layout is TRANSPOSED else tensor, found.parameter, folder)


def _saved(tensor: torch.Tensor, name: str, folder: str) -> dict[str, Any]:
    from safetensors.torch import save_file  # accelerate, without which nothing goes to disk, requires it

    file = os.path.join(folder, f"{name}.safetensors")
    save_file({name: tensor.contiguous()}, file)
    return _entry(file, name, tensor.dtype)


def _entry(file: str, name: str, dtype: torch.dtype) -> dict[str, Any]:
    """What accelerate wants to know of a tensor in a safetensors file."""
    return {"safetensors_file": file, "weight_name": name, "dtype": dtype_name(dtype)}
