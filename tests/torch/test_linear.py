"""Linear computes the same as torch's, whichever library multiplies, and leaves alone what it does not know."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from torch_runtime.linear import Linear


@pytest.fixture
def layer():
    return Linear(7, 5)


@pytest.fixture
def operations(monkeypatch):
    """Names of the products that were computed by oneDNN."""
    from torch_runtime import linear

    found = []

    def counted(*arguments):
        found.append("oneDNN")
        return torch.ops.mkldnn._linear_pointwise(*arguments)

    monkeypatch.setattr(linear, "_ONEDNN", counted if linear._ONEDNN is not None else None)
    return found


needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7), (1, 1, 7), (40, 7)])
def test_products_without_gradients_equal_torchs(layer, operations, shape):
    x = torch.randn(shape)

    with torch.no_grad():
        found = layer(x)
        expected = functional.linear(x, layer.weight, layer.bias)

    assert operations == ["oneDNN"]
    torch.testing.assert_close(found, expected)


@needs_onednn
def test_arrays_that_do_not_lie_row_by_row_are_multiplied_too(operations):
    layer = Linear(7, 5, bias=False)
    x = torch.randn(7, 6, 4).permute(1, 2, 0)[:, ::2]

    with torch.inference_mode():
        torch.testing.assert_close(layer(x), functional.linear(x, layer.weight))

    assert operations == ["oneDNN"]


def test_gradients_are_torchs(layer, operations):
    x = torch.randn(3, 7, requires_grad=True)

    layer(x).sum().backward()

    assert operations == []
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 7))


@torch.no_grad()
def test_what_else_calls_it_gets_what_torchs_layer_gives(layer, operations):
    x = torch.randn(3, 2, 7)
    expected = functional.linear(x, layer.weight, layer.bias)

    with torch.autocast("cpu"):
        assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(torch.vmap(layer)(x), expected)
    torch.testing.assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), expected)
    assert layer(torch.zeros(0, 7)).shape == (0, 5)
    assert layer(x.to("meta") if layer.weight.is_meta else x[:0]).shape == (0, 2, 5)
    assert Linear(7, 5, device="meta")(torch.zeros(3, 7, device="meta")).shape == (3, 5)
    assert Linear(7, 5, dtype=torch.float64)(x.double()).dtype == torch.float64

    assert operations == []


def test_it_is_a_linear_layer_to_everybody_else(layer):
    assert isinstance(layer, nn.Linear)
    assert layer.state_dict().keys() == {"weight", "bias"}


def test_a_model_without_memory_is_made_without_importing_torchs_compiler():
    """Torch imports it to draw nothing for tensors without memory, which takes a second."""
    code = """
import sys, torch
before = "torch._dynamo" in sys.modules
from torch_heads import BertConfig, BertModel
from torch_runtime.outline import outlining
with outlining():
    model = BertModel(BertConfig(num_hidden_layers=1))
print(before, "torch._dynamo" in sys.modules, {tensor.device.type for tensor in model.parameters()})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split(maxsplit=2) == ["False", "False", "{'meta'}\n"]
