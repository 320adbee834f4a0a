"""Inputs that are wrong are refused with an error that says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from automodels.errors import InputError, UnknownArgumentError
from automodels.testing.conformance.driver import Inputs
from automodels.testing.conformance.subject import Subject


class InputTests(Subject):
    """Calls of the model with inputs that are wrong."""

    def wrong_inputs(self, config: Any, inputs: Inputs) -> dict[str, dict[str, Any]]:
        """What is wrong → arguments of a call; to be extended with what is wrong for this model alone."""
        ids, mask = inputs["input_ids"], np.ones_like(inputs["input_ids"])
        beyond, negative = ids.copy(), ids.copy()
        beyond[..., -1] = config.vocab_size
        negative[..., -1] = -1
        return {
            "an id outside the vocabulary": {**inputs, "input_ids": beyond},
            "a negative id": {**inputs, "input_ids": negative},
            "ids that are no whole numbers": {**inputs, "input_ids": ids + 0.5},
            "ids without a batch": {"input_ids": ids.reshape(-1)},
            "no tokens": {name: value[..., :0] for name, value in {"input_ids": ids, "attention_mask": mask}.items()},
            "a mask of another rank": {**inputs, "attention_mask": mask[..., None]},
            "a mask of another length": {**inputs, "attention_mask": mask[..., :-1]},
        }

    def test_wrong_inputs_are_refused(self, model: Any, config: Any, inputs: Any) -> None:
        accepted, unclear = [], {}

        for what, wrong in self.wrong_inputs(config, inputs).items():
            try:
                self.driver.run(model, wrong)
            except InputError:
                continue
            except Exception as error:  # whatever a framework raises from its depths
                unclear[what] = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
            else:
                accepted.append(what)

        assert not accepted, f"the model computes something from {', '.join(accepted)}"
        assert not unclear, f"these are no InputError: {unclear}"

    def test_a_misspelt_argument_of_a_call_is_refused_by_name(self, model: Any, inputs: Any) -> None:
        with pytest.raises(UnknownArgumentError, match="input_ids"):
            self.driver.run(model, {**inputs, "input_idz": inputs["input_ids"]})
