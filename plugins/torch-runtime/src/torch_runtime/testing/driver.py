"""TorchDriver: how the conformance suite builds, runs and reads torch models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from automodels.testing.conformance import Driver
from torch_runtime.parameters import held
from torch_runtime.tensors import TORCH_DTYPES, as_source


class TorchDriver(Driver):
    """Models derived from TorchPreTrainedModel, in evaluation mode and without gradients."""

    framework: ClassVar[str] = "torch"
    formats: ClassVar[Mapping[str, Mapping[str, Any]]] = {"safetensors": {}}
    slow_backends: ClassVar[frozenset[str]] = frozenset({"compile", "compile-reduce-overhead", "compile-max-autotune"})

    def build(self, model_class: Any, config: Any, *, seed: int = 0, dtype: str = "float32") -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = model_class(config)
        # Cast, not built in the type: the same seed draws other numbers in another type.
        return model.to(TORCH_DTYPES[dtype]).eval()

    def run(self, model: Any, inputs: Mapping[str, Any], **flags: bool) -> dict[str, Any]:
        with torch.no_grad():
            output = model(**tensors(inputs, model.dtype), **flags)
        return {name: _numpy(value) for name, value in output.items() if _is_tensors(value)}

    def generate(self, model: Any, ids: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
        return np.asarray(model.generate(torch.from_numpy(ids.astype(np.int64)), **options))

    def parameters(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {name: _numpy(found.tensor) for name, found in held(model).items()}

    def set_parameters(self, model: Any, parameters: Mapping[str, np.ndarray[Any, Any]]) -> None:
        with torch.no_grad():
            for name, found in held(model).items():
                found.tensor.copy_(_torch(parameters[name]))


def tensors(inputs: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Inputs as those of torch's users: whole numbers as int64, others in `dtype`; what is no array stays as it is."""
    return {name: _input(value, dtype) if isinstance(value, np.ndarray) else value for name, value in inputs.items()}


def _input(array: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
    if array.dtype.kind in "iu":
        return torch.from_numpy(array.astype(np.int64))
    return _torch(array) if array.dtype.kind == "b" else _torch(array).to(dtype)


def _is_tensors(value: Any) -> bool:
    """Whether an output is a tensor or one for each layer, and not a cache."""
    if isinstance(value, tuple):
        return all(isinstance(element, torch.Tensor) for element in value)
    return isinstance(value, torch.Tensor)


def _numpy(value: Any) -> Any:
    """A copy of a tensor, also in types that numpy has from ml_dtypes; of a tuple, each one."""
    if isinstance(value, tuple):
        return tuple(_numpy(element) for element in value)
    return np.array(as_source(value).read())


def _torch(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A copy of an array, also in ml_dtypes' types, which torch does not know."""
    content = torch.from_numpy(np.array(array).reshape(-1).view(np.uint8))
    return content.view(TORCH_DTYPES[array.dtype.name]).reshape(array.shape)
