"""Low-rank adaptation: a small product of two matrices added to a weight (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

The factors hang below the layer that they adapt, as `lora`, and a hook adds what they give. The layer's own parameters
stay what and where they are, so names, checkpoints and ties are those of the model without adapters.

Shapes: I inputs of a layer, O outputs, R rank.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class LoraFactors(nn.Module):
    """One adapter's factors for one linear layer or table."""

    is_beside_checkpoint = True  # see torch_runtime.parameters.held

    def __init__(
        self, a: Tensor, b: Tensor, *, scale: float, dropout: float, is_table: bool, is_trainable: bool
    ) -> None:
        """`a` is [R, I], `b` [O, R]; for a table [R, V] and [D, R]. `dropout` is that of inputs in training."""
        super().__init__()
        self.a = nn.Parameter(a, requires_grad=is_trainable)
        self.b = nn.Parameter(b, requires_grad=is_trainable)
        self.scale = scale
        self.dropout = dropout
        self.is_table = is_table
        self.is_active = True

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the layer's output for an input, or for ids."""
        if self.is_table:
            return functional.embedding(x, self.a.T) @ self.b.T * self.scale
        x = functional.dropout(x.to(self.a.dtype), self.dropout, self.training)
        return functional.linear(functional.linear(x, self.a), self.b) * self.scale

    def delta(self) -> Tensor:
        """What is added to the layer's weight when both become one."""
        product = self.b.detach() @ self.a.detach() * self.scale
        return product.T if self.is_table else product


def adapt(layer: Any, name: str, factors: LoraFactors) -> None:
    """Hangs factors below a layer, under the adapter's name."""
    if not isinstance(getattr(layer, "lora", None), nn.ModuleDict):
        layer.lora = nn.ModuleDict()
        layer.lora_hook = layer.register_forward_hook(_add)
    layer.lora[name] = factors


def remove(layer: Any, name: str) -> None:
    """Takes an adapter's factors away, and the hook with the last ones."""
    del layer.lora[name]
    if not layer.lora:
        layer.lora_hook.remove()
        del layer.lora, layer.lora_hook


def _add(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    for factors in layer.lora.values():
        if factors.is_active:
            output = output + factors(inputs[0]).to(output.dtype)
    return output
