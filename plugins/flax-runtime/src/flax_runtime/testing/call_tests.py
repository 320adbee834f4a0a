"""Calls: with and without jit, inside jit and vmap, by module, with dropout, with a cache, compiled once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import InputError
from automodels.testing.conformance.comparing import assert_array_close, assert_close, flat
from flax_runtime.testing.counting import compilations
from flax_runtime.testing.subject import FlaxSubject


class CallTests(FlaxSubject):
    """What JAX adds to a call."""

    def test_a_call_without_jit_gives_the_same(self, model: Any, inputs: Any, outputs: Any) -> None:
        with jax.disable_jit():
            found = self.driver.run(model, self.on_device(inputs))

        assert_close(found, outputs, self.tolerances["float32"], "without jit")

    def test_a_call_inside_jit_gives_the_same(self, model: Any, inputs: Any, outputs: Any) -> None:
        @jax.jit
        def call(params: Any, arrays: Any) -> dict[str, Any]:
            return dict(model(**arrays, params=params).items())

        found = call(model.params, self.on_device(inputs))

        assert_close(found, outputs, self.tolerances["float32"], "inside jit")

    def test_a_call_inside_vmap_gives_the_same_for_each(self, model: Any, inputs: Any, outputs: Any) -> None:
        twice = {name: jnp.stack([jnp.asarray(value), jnp.asarray(value)[::-1]]) for name, value in inputs.items()}

        found = jax.vmap(lambda arrays: dict(model(**arrays).items()))(twice)

        for turned in (False, True):
            one = {name: array[int(turned)] for name, array in flat(found).items()}
            expected = {name: array[::-1] if turned else array for name, array in flat(outputs).items()}
            what = "inside vmap" + (", rows in reverse" if turned else "")
            assert_close(one, self.reversed_rows(expected, inputs) if turned else expected, 1e-5, what)

    def test_the_module_computes_the_same(self, model: Any, inputs: Any, outputs: Any) -> None:
        found = model.module(**self.on_device(inputs))

        for name in found.keys() & outputs.keys():
            assert_array_close(np.asarray(found[name]), outputs[name], self.tolerances["float32"], f"module: {name}")

    def test_outputs_are_reached_by_attribute_key_and_position(self, model: Any, inputs: Any) -> None:
        output = model(**inputs)
        as_tuple = model(**inputs, return_dict=False)

        assert isinstance(as_tuple, tuple), f"return_dict=False gives a {type(as_tuple).__name__}"
        assert len(as_tuple) == len(output), f"{len(as_tuple)} in the tuple, {len(output)} in the output"
        for position, name in enumerate(output.keys()):
            assert output[name] is getattr(output, name) is output[position], f"{name} is not output[{position}]"
            assert np.array_equal(as_tuple[position], output[name]), f"the tuple has another {name}"

    def test_calls_of_one_shape_compile_once(self, config: Any, inputs: Any) -> None:
        model = self.driver.build(self.tested, config)
        self.driver.run(model, inputs)

        with compilations() as found:
            self.driver.run(model, {name: value[::-1].copy() for name, value in inputs.items()})
            self.driver.run(model, inputs)

        assert not found, f"{len(found)} programs are compiled by calls of a shape that was called before"

    def test_dropout_follows_its_key(self, model: Any, inputs: Any, outputs: Any) -> None:
        if not self.dropout:
            pytest.skip("declared: dropout = False")

        first, again, other = (
            {name: np.asarray(value) for name, value in model(**inputs, train=True, dropout_rng=key).items()}
            for key in (jax.random.key(0), jax.random.key(0), jax.random.key(1))
        )

        assert_close(again, first, 0, "the same key")
        for name, value in first.items():
            assert not np.array_equal(value, other[name]), f"another key gives the same {name}"
            assert not np.array_equal(value, outputs[name]), f"train=True gives the same {name} as without"
        ignored = self.driver.run(model, {**inputs, "dropout_rng": jax.random.key(0)})
        assert_close(ignored, outputs, 0, "a key without train=True")
        with pytest.raises(InputError, match="dropout_rng"):
            model(**inputs, train=True)

    def test_a_cache_gives_what_the_whole_text_gives(self, model: Any, inputs: Any, outputs: Any) -> None:
        if not self.cache:
            pytest.skip("declared: cache = False")
        ids = jnp.asarray(inputs["input_ids"])
        others = {name: value for name, value in inputs.items() if np.shape(value) != ids.shape}
        segments = {name: value for name, value in inputs.items() if name == "token_type_ids"}
        name = next(iter(outputs))
        prompt, length = 3, ids.shape[1]

        arguments = model.prepare_inputs_for_generation(ids[:, :prompt], max_length=length + 1)
        starts = [0, *range(prompt, length)]
        for start, end in zip(starts, [*starts[1:], length], strict=True):
            part = {name: value[:, start:end] for name, value in segments.items()}
            output = model(ids[:, start:end], **others, **part, **arguments)
            arguments = model.update_inputs_for_generation(output, arguments)

            expected = outputs[name][:, start:end]
            what = f"tokens {start} to {end} with a cache: {name}"
            assert_array_close(np.asarray(output[name]), expected, self.tolerances["float32"], what)

    def test_a_mask_for_each_token_says_what_it_sees(self, model: Any, inputs: Any, outputs: Any) -> None:
        """Beam search needs it: the beams of a prompt stand side by side in its cache, each with its own past."""
        if not self.cache:
            pytest.skip("declared: cache = False")
        ids = inputs["input_ids"]
        batch, tokens = ids.shape
        name = next(iter(outputs))
        causal = np.broadcast_to(np.tril(np.ones((tokens, tokens), np.int32)), (batch, tokens, tokens))
        fewer = causal.copy()
        fewer[:, -1, -2] = 0  # within any window

        same, other = (
            np.asarray(self.driver.run(model, {**inputs, "attention_mask": mask})[name]) for mask in (causal, fewer)
        )

        assert_array_close(same, outputs[name], self.tolerances["float32"], f"masked as causality does: {name}")
        assert_array_close(other[:, :-1], outputs[name][:, :-1], self.tolerances["float32"], f"other tokens: {name}")
        assert not np.allclose(other[:, -1], outputs[name][:, -1]), f"the last token still sees the one before: {name}"

    def reversed_rows(self, expected: Any, inputs: Any) -> Any:
        """Outputs for the rows in reverse: as they are, where an output has several rows for each of the batch."""
        batch = len(inputs["input_ids"])
        for name, array in expected.items():
            if len(array) != batch:
                grouped = array[::-1].reshape(batch, -1, *array.shape[1:])
                expected[name] = grouped[::-1].reshape(array.shape)
        return expected
