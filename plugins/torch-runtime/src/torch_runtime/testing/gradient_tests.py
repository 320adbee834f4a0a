"""Gradients: finite, equal to numeric ones, and the same with gradient checkpointing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from automodels.testing.conformance.comparing import assert_array_close
from torch_runtime.parameters import held
from torch_runtime.testing.driver import tensors
from torch_runtime.testing.subject import TorchSubject

STEP = 1e-4  # in float64: the error of the difference quotient is of the order of its square
RELATIVE = 1e-4
SAME = 1e-9  # the same sums in another order

Gradients = dict[str, np.ndarray[Any, Any]]


class GradientTests(TorchSubject):
    """Derivatives of a sum of all outputs with random weights, in float64."""

    def test_gradients_are_finite_and_equal_to_numeric_ones(self, model: Any, config: Any, inputs: Any) -> None:
        random = np.random.default_rng(4)
        exact_model, gradients = self.exactly(model, config, inputs)

        for path, parameter in trained(exact_model).items():
            exact = gradients[path]
            assert np.isfinite(exact).all(), f"the gradient of {path} is not finite"
            along = self.direction(exact, random)
            ahead, behind = (
                self.moved_sum(exact_model, inputs, parameter, step * torch.from_numpy(along)) for step in (STEP, -STEP)
            )
            numeric, analytic = (ahead - behind) / (2 * STEP), float((exact * along).sum())
            allowed = RELATIVE * float(np.linalg.norm(exact)) + 1e-6
            difference = abs(numeric - analytic)
            what = f"along a line, the gradient of {path} is {analytic:.6g}, the difference quotient {numeric:.6g}"
            assert difference <= allowed, what

    def test_gradients_reach_the_parameters(self, model: Any, config: Any, inputs: Any) -> None:
        _, gradients = self.exactly(model, config, inputs)

        unmoved = [path for path, gradient in gradients.items() if not gradient.any()]
        assert len(unmoved) <= len(gradients) // 2, f"more than half of the gradients are zero: {unmoved}"

    def test_gradient_checkpointing_changes_no_gradient(self, model: Any, config: Any, inputs: Any) -> None:
        if not self.gradient_checkpointing:
            pytest.skip("declared: gradient_checkpointing = False")
        exact_model, _ = self.exactly(model, config, inputs)

        exact_model.train()
        try:
            expected, ran, _ = self.trained_once(exact_model, inputs)
            exact_model.gradient_checkpointing_enable()
            found, _, again = self.trained_once(exact_model, inputs)
        finally:
            exact_model.gradient_checkpointing_disable()
            exact_model.eval()

        assert ran, "no layer is computed: `repeated_layers` finds none"
        kept = [type(layer).__name__ for layer in ran if all(layer is not one for one in again)]
        assert not kept, f"{len(kept)} of {len(ran)} layers are not computed again, so the flag has no effect: {kept}"
        for path, gradient in found.items():
            what = f"with gradient checkpointing: the gradient of {path}"
            assert_array_close(gradient, expected[path], SAME, what)

    def exactly(self, model: Any, config: Any, inputs: Any) -> tuple[Any, Gradients]:
        """The model in float64, and its gradients by path. Not to be changed."""

        def make() -> tuple[Any, Gradients]:
            exact_model = self.driver.build(self.tested, config, dtype="float64")
            values = self.driver.parameters(model).items()
            self.driver.set_parameters(exact_model, {path: value.astype(np.float64) for path, value in values})
            return exact_model, self.gradients(exact_model, self.weighted_sum(exact_model, inputs))

        found: tuple[Any, Gradients] = self.once("float64", make)
        return found

    def trained_once(self, model: Any, inputs: Any) -> tuple[Gradients, list[nn.Module], list[nn.Module]]:
        """Gradients in training, the layers that the call computed, and those that their gradients computed again.

        What dropout draws is the same each time.
        """
        computed: list[nn.Module] = []
        hooks = [
            layer.register_forward_pre_hook(lambda module, _: computed.append(module))
            for layer in self.repeated_layers(model)
        ]
        try:
            with torch.random.fork_rng():
                torch.manual_seed(7)
                total = self.weighted_sum(model, inputs)
                called = list(computed)
                computed.clear()
                return self.gradients(model, total), called, computed
        finally:
            for hook in hooks:
                hook.remove()

    @staticmethod
    def gradients(model: Any, total: torch.Tensor) -> Gradients:
        """Gradients of a number by path; zeros for what it does not depend on."""
        parameters = trained(model)
        found: Any = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)  # None among them
        return {
            path: (torch.zeros_like(parameter) if gradient is None else gradient).numpy()
            for (path, parameter), gradient in zip(parameters.items(), found, strict=True)
        }

    @staticmethod
    def weighted_sum(model: Any, inputs: Any) -> torch.Tensor:
        """A number that depends on every element of every output in the model's own type."""
        total = torch.zeros((), dtype=model.dtype)
        for number, value in enumerate(model(**tensors(inputs, model.dtype)).values()):
            if isinstance(value, torch.Tensor) and value.dtype == model.dtype:
                weights = np.random.default_rng(number).normal(size=tuple(value.shape))
                total = total + (torch.from_numpy(weights) * value).sum()
        return total

    def moved_sum(self, model: Any, inputs: Any, parameter: nn.Parameter, change: torch.Tensor) -> float:
        """The number with a parameter that is moved, and moved back."""
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(change)
            found = float(self.weighted_sum(model, inputs))
            parameter.copy_(before)
        return found

    @staticmethod
    def direction(gradient: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
        """The gradient's own direction and a random one: what is too small shows along the first, a leak in both."""
        unit: np.ndarray[Any, Any] = random.normal(size=gradient.shape)
        unit /= np.linalg.norm(unit)
        length = float(np.linalg.norm(gradient))
        return unit if length == 0 else unit + np.divide(gradient, length)


def trained(model: Any) -> dict[str, nn.Parameter]:
    """Path → parameter; tied ones once."""
    found = {path: one.tensor for path, one in held(model).items()}
    return {path: tensor for path, tensor in found.items() if isinstance(tensor, nn.Parameter)}
