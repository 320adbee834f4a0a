"""Flax's half of the conformance suite. Needs pytest: install `flax-runtime[testing]`."""

from __future__ import annotations

from automodels.testing.conformance import Driver, ModelConformance
from flax_runtime.testing.driver import FlaxDriver

__all__ = ["FlaxDriver", "FlaxModelConformance"]


class FlaxModelConformance(ModelConformance):
    """All tests of a Flax model: declare a model class and a tiny config."""

    driver: Driver = FlaxDriver()
