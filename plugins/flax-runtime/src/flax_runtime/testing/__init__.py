"""Flax's half of the conformance suite. Needs pytest: install `flax-runtime[testing]`."""

from __future__ import annotations

from automodels.testing.conformance import ModelConformance
from flax_runtime.testing.call_tests import CallTests
from flax_runtime.testing.driver import FlaxDriver
from flax_runtime.testing.gradient_tests import GradientTests
from flax_runtime.testing.parameter_tests import ParameterTests

__all__ = ["FlaxDriver", "FlaxModelConformance"]


class FlaxModelConformance(ParameterTests, CallTests, GradientTests, ModelConformance):
    """All tests of a Flax model: declare a model class, or a model type and a task, and the fields of a tiny config."""
