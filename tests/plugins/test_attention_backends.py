"""Every attention function of ours against the formula; those of GPUs as far as a CPU can compute them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_runtime import headwise
from flax_runtime.attend import Attend
from flax_runtime.attention import xla_attention
from flax_runtime.cudnn import cudnn_attention
from flax_runtime.pallas import pallas_attention
from flax_runtime.testing.attention_tests import AttentionConformance


@pytest.fixture(autouse=True, scope="module")
def compile_fast():
    """Hundreds of programs are compiled to be run once; models are tested as they are compiled otherwise."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class TestXla(AttentionConformance):
    backend = "xla"


class TestHeadwise(AttentionConformance):
    """With limits so small that every case is large, and a head is a group; in one type, for it calls `xla`."""

    backend = "headwise"

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        if dtype != "float32":
            pytest.skip("a group of heads is computed by xla, which is tested in every type")
        return super().attend(dtype, head_size)

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(headwise, "LARGE_TABLE", 0)
        monkeypatch.setattr(headwise, "GROUP_TABLE", 1)


class TestCudnn(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "cudnn"


class TestPallas(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "pallas"


class TestCallsOfCudnn(AttentionConformance):
    """What is handed over to cuDNN, computed by XLA."""

    backend = "cudnn"

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        if dtype != "bfloat16":
            pytest.skip("cuDNN computes in half types, and XLA's products of float16 are for GPUs alone")
        function = functools.partial(cudnn_attention, implementation="xla")
        return Attend(function, self.backend, frozenset({"mask", "padding", "causal", "window", "bias"}), is_named=True)

    def widest_dtype(self) -> str:
        return "bfloat16"


class TestKernelOfPallas(AttentionConformance):
    """The kernel itself, computed block by block without a GPU."""

    backend = "pallas"

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        if dtype == "float16":
            pytest.skip("without a GPU one half type is like the other")
        function = functools.partial(pallas_attention, interpret=True)
        return Attend(function, self.backend, frozenset({"padding", "causal"}), min_queries=17)

    def widest_dtype(self) -> str:
        return "float32"


def test_only_large_tables_are_taken_in_groups():
    def loops(tokens: int, **given) -> bool:
        x = jax.ShapeDtypeStruct((8, tokens, 4, 8), jnp.float32)
        text = str(jax.make_jaxpr(lambda q, k, v: headwise.headwise_attention(q, k, v, **given))(x, x, x))
        return "scan" in text

    assert [loops(tokens) for tokens in (1, 128, 511, 512, 1024)] == [False, False, False, True, True]
    assert not loops(512, dropout_rate=0.1, dropout_rng=jax.random.key(0))
    assert not loops(512, bias=jnp.zeros((1, 4, 512, 512)))


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_groups_are_as_large_as_fits_and_divide_the_heads(heads, monkeypatch):
    random = np.random.default_rng(0)
    q, k, v = (jnp.asarray(random.normal(size=(2, 8, 6, 4)), jnp.float32) for _ in range(3))
    monkeypatch.setattr(headwise, "LARGE_TABLE", 0)
    monkeypatch.setattr(headwise, "GROUP_TABLE", heads * 8 * 8 * 4)

    found = headwise.headwise_attention(q, k, v, scale=0.3)

    np.testing.assert_allclose(found, xla_attention(q, k, v, scale=0.3), atol=1e-6)
