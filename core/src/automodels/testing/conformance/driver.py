"""Driver: what only a framework knows. Its half of the suite implements one; everything else speaks numpy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Any]
"""Argument of a call → array."""

Outputs = Mapping[str, Any]
"""Name of an output → array, or a tuple of arrays, one for each layer."""


class Driver(ABC):
    """Builds and runs models of one framework. Has no state, and is pickled into other processes."""

    framework: ClassVar[str]
    formats: ClassVar[Mapping[str, Mapping[str, Any]]] = {"safetensors": {}}
    """Every way to save → the options of `save_pretrained` for it."""

    slow_backends: ClassVar[frozenset[str]] = frozenset()
    """Those that take too long to be tried with every model: it is loaded with them, and not called."""

    left_out_backends: ClassVar[frozenset[str]] = frozenset()
    """Those that no model is loaded with, because they change the whole process."""

    @abstractmethod
    def build(self, model_class: Any, config: Any, *, seed: int = 0, dtype: str = "float32") -> Any:
        """A model with fresh parameters that computes in `dtype`."""

    @abstractmethod
    def run(self, model: Any, inputs: Inputs, **flags: bool) -> dict[str, Any]:
        """The outputs that are there, by name, for numpy inputs; `flags` are such as `output_attentions`."""

    @abstractmethod
    def parameters(self, model: Any) -> dict[str, Array]:
        """Path (dots) → value, for every parameter."""

    @abstractmethod
    def set_parameters(self, model: Any, parameters: Mapping[str, Array]) -> None:
        """Replaces every parameter."""

    def generate(self, model: Any, ids: Array, **options: Any) -> Array:
        """Token ids [B, T + new]: a prompt [B, T] and what follows it; asked of classes that `generates` alone."""
        raise NotImplementedError(f"{type(self).__name__} does not generate")

    def save(self, model: Any, directory: Path, **options: Any) -> None:
        """Saves a model; options are those of its `save_pretrained`."""
        model.save_pretrained(directory, **options)

    def load(self, model_class: Any, directory: Path, **options: Any) -> Any:
        """Loads a model; options are those of its `from_pretrained`."""
        return model_class.from_pretrained(directory, **options)
