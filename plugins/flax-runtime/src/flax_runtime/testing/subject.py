"""FlaxSubject: what is declared about a Flax model beyond what is declared about any model."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from automodels.testing.conformance.driver import Driver
from automodels.testing.conformance.subject import Subject
from flax_runtime.testing.driver import FlaxDriver

EXTRA = "conformance_no_such_parameter"


class FlaxSubject(Subject):
    """Declarations for models derived from FlaxPreTrainedModel."""

    driver: ClassVar[Driver] = FlaxDriver()

    dropout: ClassVar[bool] = True
    """Whether the declared config has dropout, so that training depends on the key."""

    gradient_checkpointing: ClassVar[bool] = True
    """Whether the module takes the flag of this name."""

    cache: ClassVar[bool] = False
    """Whether the model decodes with a cache: `prepare_inputs_for_generation` and `past_key_values`."""

    @staticmethod
    def on_device(inputs: Any) -> dict[str, jax.Array]:
        """The inputs as JAX arrays, such as functions that are traced get."""
        return {name: jnp.asarray(value) for name, value in inputs.items()}
