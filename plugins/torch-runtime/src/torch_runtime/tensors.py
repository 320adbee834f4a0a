"""Tensors of checkpoints and tensors of torch: the same bytes, and the same names of types."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import torch

from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.tensors import TensorView
from automodels.errors import InputError

_NAMES = (
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
)  # fmt: skip
TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _NAMES if hasattr(torch, name)}
"""Name that numpy and ml_dtypes give a type → torch's type."""

_NUMPY_DTYPES = {found: np.dtype(getattr(ml_dtypes, name, name)) for name, found in TORCH_DTYPES.items()}


def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """The same type in numpy; raises InputError for one that no checkpoint can hold."""
    if dtype not in _NUMPY_DTYPES:
        raise InputError(f"{dtype} cannot stand in a checkpoint.")
    return _NUMPY_DTYPES[dtype]


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def floating_dtype(what: str, value: Any) -> torch.dtype:
    """The type; raises InputError for anything but a floating-point type or its name."""
    found = TORCH_DTYPES.get(value.removeprefix("torch.")) if isinstance(value, str) else value
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InputError(
            f"{what} is {value!r}, not a floating-point type.", hints=['For example torch.bfloat16, or "auto".']
        )
    return found


def first_dtype(tensors: Iterable[torch.Tensor]) -> torch.dtype:
    """Type of the first floating-point tensor; where there is none, of the first, or torch's default."""
    first = None
    for tensor in tensors:
        if tensor.is_floating_point():
            return tensor.dtype
        first = first or tensor.dtype
    return first or torch.get_default_dtype()


def default_device() -> torch.device:
    """Where tensors are made now, by `torch.set_default_device` or inside `with torch.device(…)`."""
    return torch.empty(0).device  # torch.get_default_device() knows nothing of the latter before torch 2.6


def get_parameter_dtype(module: torch.nn.Module) -> torch.dtype:
    """Type of the first floating-point parameter, or if there is none, buffer; else of the first of either."""
    return first_dtype((*module.parameters(), *module.buffers()))


def get_parameter_device(module: torch.nn.Module) -> torch.device:
    """Device of the first parameter or buffer; torch's default where there is neither."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return default_device() if first is None else first.device


def get_state_dict_dtype(state_dict: Mapping[str, torch.Tensor]) -> torch.dtype:
    """Type of the first floating-point tensor; if there is none, of the first."""
    return first_dtype(state_dict.values())


def get_state_dict_float_dtype(state_dict: Mapping[str, torch.Tensor]) -> torch.dtype:
    """Type of the first floating-point tensor; raises InputError when there is none."""
    found = next((tensor.dtype for tensor in state_dict.values() if tensor.is_floating_point()), None)
    if found is None:
        raise InputError("The state_dict has no floating-point tensor.")
    return found


def as_torch(view: TensorView) -> torch.Tensor:
    """The tensor over the mapped file: no copy, and a page that is written to becomes memory of this process alone."""
    array = view.private()
    if not array.size:
        return torch.empty(view.shape, dtype=TORCH_DTYPES[view.dtype.name])
    # Bytes, because torch knows no ml_dtypes; numpy has no types for half of torch's.
    return torch.from_numpy(array.reshape(-1).view(np.uint8)).view(TORCH_DTYPES[view.dtype.name]).reshape(view.shape)


def as_source(tensor: torch.Tensor) -> LazyTensor:
    """The tensor for a writer, which takes it off the device when its turn has come."""

    def read() -> np.ndarray[Any, Any]:
        here = tensor.detach().to("cpu").contiguous()
        array: np.ndarray[Any, Any] = here.reshape(-1).view(torch.uint8).numpy()
        return array.view(numpy_dtype(here.dtype)).reshape(tuple(here.shape))

    return LazyTensor(dtype=numpy_dtype(tensor.dtype), shape=tuple(tensor.shape), read=read)
