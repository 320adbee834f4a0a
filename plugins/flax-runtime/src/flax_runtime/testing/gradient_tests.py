"""Gradients: finite, equal to numeric ones, and the same with gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.testing.conformance.comparing import assert_array_close
from flax_runtime.parameters import flatten, unflatten
from flax_runtime.testing.subject import FlaxSubject

STEP = 1e-4  # in float64: the error of the difference quotient is of the order of its square
RELATIVE = 1e-4
SAME = 1e-9  # the same sums in another order


class GradientTests(FlaxSubject):
    """Derivatives of a sum of all outputs with random weights, in float64."""

    def test_gradients_are_finite_and_equal_to_numeric_ones(self, model: Any, config: Any, inputs: Any) -> None:
        random = np.random.default_rng(4)
        with jax.enable_x64(True):
            exact_model, params, gradients = self.exactly(model, config, inputs)
            loss = jax.jit(self.weighted_sum(exact_model, inputs))

            for path, exact in gradients.items():
                assert np.isfinite(exact).all(), f"the gradient of {path} is not finite"
                along = self.direction(exact, random)
                ahead, behind = (
                    float(loss(unflatten({**params, path: params[path] + step * along}))) for step in (STEP, -STEP)
                )
                numeric, analytic = (ahead - behind) / (2 * STEP), float((exact * along).sum())
                allowed = RELATIVE * float(np.linalg.norm(exact)) + 1e-6
                difference = abs(numeric - analytic)
                what = f"along a line, the gradient of {path} is {analytic:.6g}, the difference quotient {numeric:.6g}"
                assert difference <= allowed, what

    def test_gradients_reach_the_parameters(self, model: Any, config: Any, inputs: Any) -> None:
        with jax.enable_x64(True):
            _, _, gradients = self.exactly(model, config, inputs)

        unmoved = [path for path, gradient in gradients.items() if not gradient.any()]
        assert gradients.keys() == flatten(model.params).keys()
        assert len(unmoved) <= len(gradients) // 2, f"more than half of the gradients are zero: {unmoved}"

    def test_gradient_checkpointing_changes_no_gradient(self, model: Any, config: Any, inputs: Any) -> None:
        if not self.gradient_checkpointing:
            pytest.skip("declared: gradient_checkpointing = False")
        with jax.enable_x64(True):
            exact_model, params, expected = self.exactly(model, config, inputs)

            exact_model.enable_gradient_checkpointing()
            try:
                traced = jax.jit(jax.grad(self.weighted_sum(exact_model, inputs))).trace(unflatten(params))
                found = flatten(traced.lower().compile()(unflatten(params)))
            finally:
                exact_model.disable_gradient_checkpointing()

        program = str(traced.jaxpr)
        assert "remat" in program or "checkpoint" in program, "nothing is computed again: the flag has no effect"
        for path, gradient in found.items():
            what = f"with gradient checkpointing: the gradient of {path}"
            assert_array_close(np.asarray(gradient), expected[path], SAME, what)

    def exactly(self, model: Any, config: Any, inputs: Any) -> Any:
        """The model in float64, its parameters by path, and their gradients; to be asked for inside `enable_x64`."""

        def make() -> tuple[Any, dict[str, Any], dict[str, Any]]:
            params = {path: np.asarray(leaf, np.float64) for path, leaf in flatten(model.params).items()}
            exact_model = self.tested(config, dtype=jnp.float64, param_dtype=jnp.float64, _do_init=False)
            tree = jax.jit(jax.grad(self.weighted_sum(exact_model, inputs)))(unflatten(params))
            return exact_model, params, {path: np.asarray(leaf) for path, leaf in flatten(tree).items()}

        return self.once("float64", make)

    def weighted_sum(self, model: Any, inputs: Any) -> Callable[[Any], jax.Array]:
        """A number that depends on every element of every output in the model's own type, as a function of params."""

        def loss(params: Any) -> jax.Array:
            output = model(**self.on_device(inputs), params=params)
            total = jnp.zeros((), model.dtype)
            for number, (name, value) in enumerate(output.items()):
                if name not in self.float32_outputs:
                    weights = np.random.default_rng(number).normal(size=value.shape)
                    total += (jnp.asarray(weights, value.dtype) * value).sum()
            return total

        return loss

    @staticmethod
    def direction(gradient: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
        """The gradient's own direction and a random one: what is too small shows along the first, a leak in both."""
        unit: np.ndarray[Any, Any] = random.normal(size=gradient.shape)
        unit /= np.linalg.norm(unit)
        length = float(np.linalg.norm(gradient))
        return unit if length == 0 else unit + np.divide(gradient, length)
