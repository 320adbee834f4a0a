"""What every PyTorch plugin stands on. Names are imported when they are first used; the package imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_runtime.cache import KVCache
    from torch_runtime.initialising import no_init_weights
    from torch_runtime.modeling import TorchPreTrainedModel
    from torch_runtime.quantization import Quantization
    from torch_runtime.sharded import load_sharded_checkpoint
    from torch_runtime.unwrapping import unwrap_model

_MODULES = {
    "KVCache": "torch_runtime.cache",
    "Quantization": "torch_runtime.quantization",
    "TorchPreTrainedModel": "torch_runtime.modeling",
    "load_sharded_checkpoint": "torch_runtime.sharded",
    "no_init_weights": "torch_runtime.initialising",
    "unwrap_model": "torch_runtime.unwrapping",
}

__all__ = [
    "KVCache",
    "Quantization",
    "TorchPreTrainedModel",
    "load_sharded_checkpoint",
    "no_init_weights",
    "unwrap_model",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'torch_runtime' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
