"""PyTorch's half of the conformance suite. Needs pytest: install `torch-runtime[testing]`."""

from __future__ import annotations

from automodels.testing.conformance import ModelConformance
from torch_runtime.testing.call_tests import CallTests
from torch_runtime.testing.driver import TorchDriver
from torch_runtime.testing.gradient_tests import GradientTests
from torch_runtime.testing.parameter_tests import ParameterTests

__all__ = ["TorchDriver", "TorchModelConformance"]


class TorchModelConformance(ParameterTests, CallTests, GradientTests, ModelConformance):
    """All tests of a torch model: declare a model class, or a model type and task, and the fields of a tiny config."""
