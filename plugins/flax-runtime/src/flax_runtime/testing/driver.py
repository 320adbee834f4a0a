"""FlaxDriver: how the conformance suite builds, runs and reads Flax models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from automodels.testing.conformance import Driver
from flax_runtime.parameters import flatten, unflatten


class FlaxDriver(Driver):
    """Models derived from FlaxPreTrainedModel."""

    framework: ClassVar[str] = "flax"
    formats: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "safetensors": {},
        "safetensors with Flax's names": {"naming": "flax"},
        "msgpack": {"safe_serialization": False},
    }

    slow_backends: ClassVar[frozenset[str]] = frozenset({"eager", "jit"})  # compiled for each operation; as by default
    left_out_backends: ClassVar[frozenset[str]] = frozenset({"jit-cached"})

    def build(self, model_class: Any, config: Any, *, seed: int = 0, dtype: str = "float32") -> Any:
        return model_class(config, seed=seed, dtype=jnp.dtype(dtype))

    def run(self, model: Any, inputs: Mapping[str, Any], **flags: bool) -> dict[str, Any]:
        output = model(**inputs, **flags)
        return {name: _numpy(value) for name, value in output.items()}

    def generate(self, model: Any, ids: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
        return np.asarray(model.generate(ids, **options).sequences)

    def parameters(self, model: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {path: np.asarray(leaf) for path, leaf in flatten(model.params).items()}

    def set_parameters(self, model: Any, parameters: Mapping[str, np.ndarray[Any, Any]]) -> None:
        model.params = unflatten({path: jnp.asarray(value) for path, value in parameters.items()})


def _numpy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_numpy(element) for element in value)
    return np.asarray(value)
