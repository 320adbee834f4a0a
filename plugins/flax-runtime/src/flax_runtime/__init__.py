"""What every Flax plugin stands on. Names are imported when they are first used; the package alone imports no Flax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax_runtime.modeling import FlaxPreTrainedModel
    from flax_runtime.parameters import parameters_of

__all__ = ["FlaxPreTrainedModel", "parameters_of"]


def __getattr__(name: str) -> Any:
    if name == "FlaxPreTrainedModel":
        from flax_runtime.modeling import FlaxPreTrainedModel

        return FlaxPreTrainedModel
    if name == "parameters_of":
        from flax_runtime.parameters import parameters_of

        return parameters_of
    raise AttributeError(f"module 'flax_runtime' has no attribute {name!r}")
