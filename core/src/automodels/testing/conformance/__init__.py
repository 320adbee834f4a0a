"""The conformance suite: what every model of every plugin is expected to do, as tests to be derived from.

A framework's half (such as `flax_runtime.testing.FlaxModelConformance`) gives the driver; an author derives a class
from that, declares a tiny config, and pytest runs the rest. See docs/testing.md.
"""

from __future__ import annotations

from automodels.testing.conformance.checkpoint_tests import CheckpointTests
from automodels.testing.conformance.computing_tests import ComputingTests
from automodels.testing.conformance.config_tests import ConfigTests
from automodels.testing.conformance.driver import Driver
from automodels.testing.conformance.generation_tests import GenerationTests
from automodels.testing.conformance.input_tests import InputTests
from automodels.testing.conformance.packaging_tests import PackagingTests

__all__ = ["Driver", "ModelConformance"]


class ModelConformance(ConfigTests, PackagingTests, CheckpointTests, ComputingTests, InputTests, GenerationTests):
    """All tests that need no framework; `driver` and the declarations of `Subject` are to be filled in."""
