"""Names of a module's parameters and persistent buffers, and the places where each of them hangs.

Tied parameters are one object in several places, so filling all places of a name keeps them tied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from automodels.checkpoint.plan import AbstractParameter
from torch_runtime.tensors import numpy_dtype


@dataclass(frozen=True, kw_only=True)
class Held:
    """A parameter or persistent buffer, and where it hangs."""

    tensor: torch.Tensor
    places: tuple[tuple[nn.Module, str], ...]

    @property
    def is_parameter(self) -> bool:
        return isinstance(self.tensor, nn.Parameter)

    def put(self, tensor: torch.Tensor) -> None:
        """Hangs a tensor in all places; a parameter's stays one, and asks for gradients as before."""
        new: torch.Tensor = tensor
        if isinstance(self.tensor, nn.Parameter):
            new = nn.Parameter(tensor, requires_grad=self.tensor.requires_grad and tensor.is_floating_point())
        for module, name in self.places:
            setattr(module, name, new)


def held(module: nn.Module) -> dict[str, Held]:
    """Name → what a checkpoint holds under it; of tied ones only the first name, as in `named_parameters`.

    Modules with `is_beside_checkpoint`, such as adapters' factors, are left out.
    """
    names: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    places: dict[str, list[tuple[nn.Module, str]]] = {}
    for path, part in module.named_modules():
        if getattr(part, "is_beside_checkpoint", False):
            continue
        own: dict[str, torch.Tensor | None] = {**part._parameters, **persistent_buffers(part)}
        for name, tensor in own.items():
            if tensor is None:
                continue
            first = names.setdefault(id(tensor), f"{path}.{name}" if path else name)
            tensors.setdefault(first, tensor)
            places.setdefault(first, []).append((part, name))
    return {name: Held(tensor=tensor, places=tuple(places[name])) for name, tensor in tensors.items()}


def persistent_buffers(part: nn.Module) -> dict[str, torch.Tensor | None]:
    """A module's own buffers that belong into a checkpoint."""
    return {name: buffer for name, buffer in part._buffers.items() if name not in part._non_persistent_buffers_set}


def abstract_parameters(module: nn.Module) -> dict[str, AbstractParameter]:
    """What a plan needs to know of parameters without values."""
    return {
        name: AbstractParameter(shape=tuple(found.tensor.shape), dtype=numpy_dtype(found.tensor.dtype))
        for name, found in held(module).items()
    }


def as_module(model: Any) -> nn.Module:
    """A model that a mixin's method has as `self`, as the module that it is."""
    assert isinstance(model, nn.Module)
    return model
