"""What every PyTorch plugin stands on. Names are imported when they are first used; the package imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_runtime.cache import KVCache
    from torch_runtime.initialising import no_init_weights
    from torch_runtime.modeling import TorchPreTrainedModel
    from torch_runtime.placing import expand_device_map, get_disk_only_shard_files
    from torch_runtime.quantization import Quantization
    from torch_runtime.sharded import load_sharded_checkpoint
    from torch_runtime.tensors import (
        get_parameter_device,
        get_parameter_dtype,
        get_state_dict_dtype,
        get_state_dict_float_dtype,
    )
    from torch_runtime.unwrapping import unwrap_model

_MODULES = {
    "KVCache": "torch_runtime.cache",
    "Quantization": "torch_runtime.quantization",
    "TorchPreTrainedModel": "torch_runtime.modeling",
    "expand_device_map": "torch_runtime.placing",
    "get_disk_only_shard_files": "torch_runtime.placing",
    "get_parameter_device": "torch_runtime.tensors",
    "get_parameter_dtype": "torch_runtime.tensors",
    "get_state_dict_dtype": "torch_runtime.tensors",
    "get_state_dict_float_dtype": "torch_runtime.tensors",
    "load_sharded_checkpoint": "torch_runtime.sharded",
    "no_init_weights": "torch_runtime.initialising",
    "unwrap_model": "torch_runtime.unwrapping",
}

__all__ = [
    "KVCache",
    "Quantization",
    "TorchPreTrainedModel",
    "expand_device_map",
    "get_disk_only_shard_files",
    "get_parameter_device",
    "get_parameter_dtype",
    "get_state_dict_dtype",
    "get_state_dict_float_dtype",
    "load_sharded_checkpoint",
    "no_init_weights",
    "unwrap_model",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'torch_runtime' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
