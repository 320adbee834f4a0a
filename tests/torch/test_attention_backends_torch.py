"""Every attention function of ours against the formula; on a CPU those that run there."""

from __future__ import annotations

import pytest
import torch

from automodels.plugins.catalog import load_catalog
from automodels.plugins.tables import ATTENTION
from torch_runtime.attend import Attend
from torch_runtime.attention import eager_attention
from torch_runtime.sdpa import FORMULA, kernel_of, math_attention, sdpa_attention
from torch_runtime.testing.attention_tests import AttentionConformance


class TestSdpa(AttentionConformance):
    backend = "sdpa"


class TestEager(AttentionConformance):
    backend = "eager"


class TestMath(AttentionConformance):
    backend = "math"


class TestFlex(AttentionConformance):
    backend = "flex"
    has_gradients = False  # on a CPU


class TestFlash(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "flash"
    device = "cuda"


class TestCudnn(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "cudnn"
    device = "cuda"


class TestEfficient(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "efficient"
    device = "cuda"


class TestMasksAsNumbers(AttentionConformance):
    """A function that takes a bias and nothing else."""

    backend = "numbers"

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        return Attend(math_attention, self.backend, frozenset({"bias"}), is_named=True)


def test_every_attention_function_of_ours_is_tested_here():
    declared = {table.name for plugin, table in load_catalog().backends("torch") if table.kind == ATTENTION}
    tested = {kind.backend for kind in AttentionConformance.__subclasses__()}

    assert declared <= tested


@pytest.mark.parametrize(("batch", "queries", "keys"), [(8, 1, 128), (1, 1, 128), (8, 16, 16), (1, 128, 128)])
def test_on_a_cpu_the_kernel_computes_float32_and_the_formula_single_tokens_in_half_types(batch, queries, keys):
    q, k = torch.randn(batch, 12, queries, 64), torch.randn(batch, 12, keys, 64)

    with torch.no_grad():
        found = [kernel_of(q.to(dtype), k.to(dtype), k.to(dtype)) for dtype in (torch.float32, torch.bfloat16)]
        result = sdpa_attention(q, k, k)

    assert found == ["flash", FORMULA if queries == 1 else "flash"]
    torch.testing.assert_close(result, eager_attention(q, k, k), atol=2e-6, rtol=2e-6)
    half = q.bfloat16(), k.bfloat16(), k.bfloat16()
    assert kernel_of(*half) == "flash"  # where gradients may be asked for


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", [FORMULA, "flash"])
def test_single_tokens_in_half_types_have_scores_in_float32(dtype, kernel):
    keys = 100 if kernel == FORMULA else 10
    q, k, v = (torch.randn(1, 12, length, 64) for length in (1, keys, keys))
    q, k, v = (array.to(dtype) for array in (q * 30, k, v))  # scores of hundreds

    with torch.no_grad():
        assert kernel_of(q, k, v, scale=1.0) == kernel
        found = sdpa_attention(q, k, v, scale=1.0)

    assert found.dtype == dtype
    expected = eager_attention(*(array.double() for array in (q, k, v)), scale=1.0)
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0.01)


def test_the_kernel_that_torch_takes_has_a_name():
    x = torch.randn(2, 3, 5, 16)
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)

    assert kernel_of(x, x, x) == kernel_of(x, x, x, mask=mask) == kernel_of(x.half(), x.half(), x.half()) == "flash"
    assert kernel_of(x, x, x, is_causal=True) == "flash"
    assert kernel_of(x, x, x, dropout=0.1) == "math"
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert kernel_of(x, x, x) == "math"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("form", ["one for all queries", "one for each"])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 40), (3, 40), (33, 33), (70, 600)])
def test_queries_that_see_nothing_give_numbers_forwards_and_backwards(dtype, dropout, form, queries, keys):
    leaves = [torch.randn(2, 3, length, 32, dtype=dtype, requires_grad=True) for length in (queries, keys, keys)]
    mask = torch.rand(2, 1, 1 if form == "one for all queries" else queries, keys) > 0.3
    mask[0, :, 0] = False

    result = sdpa_attention(*leaves, mask=mask, dropout=dropout)

    assert result.isfinite().all()
    for gradient in torch.autograd.grad(result.float().sum(), leaves):
        assert gradient.isfinite().all()
