"""Fresh values: rules for each kind of module, and when they are applied."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torch_runtime.parameters import Held
from torch_runtime.tensors import default_device

_is_initialising = contextvars.ContextVar("is_initialising", default=True)


@contextlib.contextmanager
def no_init_weights() -> Iterator[None]:
    """Inside, models are made without drawing values by our rules: whoever makes them fills them."""
    token = _is_initialising.set(False)
    try:
        yield
    finally:
        _is_initialising.reset(token)


def is_initialising() -> bool:
    """Whether a model that is made now draws its values."""
    return _is_initialising.get() and default_device().type != "meta"


def standard_rule(module: nn.Module, std: float) -> None:
    """The rule of BERT, OPT, GPT-Neo and most others: normal with deviation `std`; biases 0, normalisations 1.

    The padding row of a table stays 0.
    """
    with torch.no_grad():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.weight.normal_(0.0, std)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            for parameter, value in ((module.weight, 1.0), (module.bias, 0.0)):
                if parameter is not None:
                    parameter.fill_(value)


class InitMethods:
    """Fresh values of a model, by its own rule."""

    config: Any

    def init_weights(self) -> None:
        """Draws fresh values for all parameters, in place and with torch's random numbers.

        Inside `no_init_weights()` nothing is drawn.
        """
        if not is_initialising():
            return
        assert isinstance(self, nn.Module)
        for module, model in _with_models(self, self):
            model._init_weights(module)

    def _init_weights(self, module: nn.Module) -> None:
        """Fresh values for the parameters that a module has itself; for a family to extend."""
        standard_rule(module, getattr(self.config, "initializer_range", 0.02))

    def _draw(self) -> None:
        """Fresh values for a model that is being made: models inside it have drawn their own."""
        assert isinstance(self, nn.Module)
        for module, model in _with_models(self, self):
            if model is self:
                self._init_weights(module)


def _with_models(module: nn.Module, model: Any) -> Iterator[tuple[nn.Module, Any]]:
    """Each module below, and itself at last, with the model that it belongs to."""
    for child in module.children():
        yield from _with_models(child, child if isinstance(child, InitMethods) else model)
    yield module, model


def refresh(model: Any, wanted: Iterable[Held], device: torch.device) -> None:
    """Gives parameters fresh values, by the model's `_init_weights`, and leaves all others alone."""
    for found in wanted:
        found.put(fresh_value(model, found, found.tensor.shape).to(device))


def fresh_value(model: Any, found: Held, shape: torch.Size) -> Tensor:
    """A fresh value of a parameter in a shape, which may be a new one.

    A rule draws all of a module's values at once, so it works on stand-ins, of which only the one wanted is kept.
    """
    module, name = found.places[0]
    own = {key: parameter for key, parameter in module._parameters.items() if parameter is not None}
    stand_ins = {
        key: nn.Parameter(
            torch.zeros(shape if key == name else parameter.shape, dtype=parameter.dtype), requires_grad=False
        )
        for key, parameter in own.items()
    }
    module._parameters.update(stand_ins)
    try:
        model._init_weights(module)
    finally:
        module._parameters.update(own)
    return stand_ins[name].detach()
