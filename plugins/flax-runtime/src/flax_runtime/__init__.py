"""What every Flax plugin stands on. Names are imported when they are first used; the package alone imports no Flax."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax_runtime.modeling import FlaxPreTrainedModel
    from flax_runtime.parameters import parameters_of

__all__ = ["FlaxPreTrainedModel", "parameters_of"]

_MODULES = {"FlaxPreTrainedModel": "flax_runtime.modeling", "parameters_of": "flax_runtime.parameters"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'flax_runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
