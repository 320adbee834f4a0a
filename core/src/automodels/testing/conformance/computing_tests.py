"""What a model computes: the same each time, whatever the neighbours, the padding and the process, in every type.

Shapes: B batch, T tokens, D hidden size, N heads.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from automodels.testing.conformance.comparing import assert_array_close, assert_close, assert_same_parameters, flat
from automodels.testing.conformance.driver import Driver, Inputs
from automodels.testing.conformance.processes import in_another_process
from automodels.testing.conformance.subject import Subject

PADDED = 2  # tokens that are added


class ComputingTests(Subject):
    """Calls of the model with inputs that are right."""

    def test_the_same_call_gives_the_same_result(self, model: Any, inputs: Any, outputs: Any) -> None:
        again = self.driver.run(model, inputs)

        assert_same_parameters(flat(again), flat(outputs), "the second call")

    def test_the_seed_decides_fresh_parameters(self, config: Any) -> None:
        first, again, other = (
            self.driver.parameters(self.driver.build(self.tested, config, seed=seed)) for seed in (1, 1, 2)
        )

        assert_same_parameters(again, first, "the same seed")
        assert any((first[path] != other[path]).any() for path in first), "another seed gives the same parameters"

    def test_a_row_alone_gives_what_it_gives_in_a_batch(self, model: Any, inputs: Any, outputs: Any) -> None:
        batch = len(inputs["input_ids"])
        together = flat(outputs)

        for row in range(batch):
            alone = flat(self.driver.run(model, {name: value[row : row + 1] for name, value in inputs.items()}))
            for name, found in alone.items():
                count = len(together[name]) // batch  # rows of an output for each row of the batch; several for choices
                expected = together[name][row * count : (row + 1) * count]
                assert_array_close(found, expected, self.tolerances["float32"], f"row {row} alone: {name}")

    @pytest.mark.parametrize("side", ["right", "left"])
    def test_padding_changes_nothing(self, side: str, model: Any, inputs: Any, config: Any) -> None:
        if side not in self.padding:
            pytest.skip(f"declared: padding = {self.padding!r}")
        expected = flat(self.everything(model, inputs))
        tokens = inputs["input_ids"].shape[-1]

        found = flat(self.driver.run(model, self.padded(inputs, side, config), **self.flags()))

        kept = slice(0, tokens) if side == "right" else slice(PADDED, PADDED + tokens)
        for name, wanted in expected.items():
            if side == "left" and name in self.first_token_outputs:
                continue
            array = found[name]
            axes = zip(array.shape, wanted.shape, strict=True)
            array = array[tuple(kept if long != short else slice(None) for long, short in axes)]
            assert_array_close(array, wanted, self.tolerances["float32"], f"padded on the {side}: {name}")

    def test_attentions_are_weights_of_every_layer(self, model: Any, inputs: Any, outputs: Any, config: Any) -> None:
        if not self.attentions:
            pytest.skip("declared: attentions = False")
        *_, tokens = shape = inputs["input_ids"].shape

        found = self.everything(model, inputs)

        assert "attentions" not in outputs, "attentions are returned although nobody asked for them"
        assert "attentions" in found, f"output_attentions=True returns only {sorted(found)}"
        weights = found["attentions"]
        assert len(weights) == self.layers(config), f"{len(weights)} attentions, {self.layers(config)} layers"
        expected = (math.prod(shape[:-1]), self.heads(config), tokens, tokens)
        for layer, array in enumerate(weights):
            assert array.shape == expected, f"attentions of layer {layer} are {list(array.shape)}, not {list(expected)}"
            sums = array.astype(np.float64).sum(-1)
            assert_array_close(sums, np.ones_like(sums), self.tolerances["float32"], f"sums of layer {layer}'s weights")

    def test_hidden_states_are_those_of_every_layer(self, model: Any, inputs: Any, outputs: Any, config: Any) -> None:
        if not self.hidden_states:
            pytest.skip("declared: hidden_states = False")
        *_, tokens = shape = inputs["input_ids"].shape

        found = self.everything(model, inputs)

        assert "hidden_states" not in outputs, "hidden states are returned although nobody asked for them"
        assert "hidden_states" in found, f"output_hidden_states=True returns only {sorted(found)}"
        states = found["hidden_states"]
        count = self.layers(config) + 1
        assert len(states) == count, f"{len(states)} hidden states; embeddings and layers are {count}"
        expected = (math.prod(shape[:-1]), tokens, config.hidden_size)
        for layer, array in enumerate(states):
            assert array.shape == expected, f"hidden state {layer} is {list(array.shape)}, not {list(expected)}"
        for layer, (below, above) in enumerate(itertools.pairwise(states)):
            assert (below != above).any(), f"hidden states {layer} and {layer + 1} are the same"
        if "last_hidden_state" in found:
            tolerance = self.tolerances["float32"]
            assert_array_close(states[-1], found["last_hidden_state"], tolerance, "the last of the hidden states")

    def test_asking_for_more_outputs_changes_no_other(self, model: Any, inputs: Any, outputs: Any) -> None:
        found = self.everything(model, inputs)

        lost = [name for name in outputs if name not in found]
        assert not lost, f"with {', '.join(self.flags())}, these outputs are not there: {lost}"
        others = {name: found[name] for name in outputs}
        assert_close(others, outputs, self.tolerances["float32"], f"with {', '.join(self.flags())}")

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_every_type_computes_close_to_float32(self, dtype: str, config: Any, inputs: Any, outputs: Any) -> None:
        if dtype not in self.tolerances:
            pytest.skip(f"declared: tolerances has no {dtype}")

        found = flat(outputs if dtype == "float32" else self.driver.run(self.distinct(config, dtype=dtype), inputs))

        for name, array in found.items():
            if name in self.index_outputs:
                assert array.dtype.kind in "iu", f"{name} is {array.dtype.name}, not whole numbers"
                continue
            expected = "float32" if name in self.float32_outputs else dtype
            assert array.dtype.name == expected, f"computing in {dtype}: {name} is {array.dtype.name}, not {expected}"
        assert_close(found, flat(outputs), self.tolerances[dtype], f"computing in {dtype}")

    def test_a_model_survives_another_process(self, model: Any, inputs: Any, outputs: Any) -> None:
        found = in_another_process(_run, self.driver, model, inputs)

        assert_close(found, outputs, self.tolerances["float32"], "in another process")

    def flags(self) -> dict[str, bool]:
        """Flags that make a call return everything that it can return."""
        wanted = {"output_attentions": self.attentions, "output_hidden_states": self.hidden_states}
        return {name: True for name, there in wanted.items() if there}

    def everything(self, model: Any, inputs: Inputs) -> Any:
        """What the model returns with all flags. Not to be changed."""
        return self.once("everything", lambda: self.driver.run(model, inputs, **self.flags()))

    def padded(self, inputs: Inputs, side: str, config: Any) -> dict[str, Any]:
        """The inputs with tokens added on a side that the attention mask leaves out; what they are, is random.

        On the left, positions are given as well, so that the text keeps its own.
        """
        ids = inputs["input_ids"]
        random = np.random.default_rng(2).integers(0, config.vocab_size, (*ids.shape[:-1], PADDED), dtype=ids.dtype)
        added = {"input_ids": random}
        complete = {"attention_mask": np.ones_like(ids), **inputs}
        if side == "left":
            complete.setdefault("position_ids", np.broadcast_to(np.arange(ids.shape[-1], dtype=ids.dtype), ids.shape))
        for name in complete:
            if name in ("attention_mask", "token_type_ids", "position_ids"):
                added[name] = np.zeros_like(random)
        return {
            name: np.concatenate([value, added[name]] if side == "right" else [added[name], value], axis=-1)
            if name in added
            else value
            for name, value in complete.items()
        }


def _run(driver: Driver, model: Any, inputs: Inputs) -> dict[str, Any]:
    return driver.run(model, inputs)
