"""Every attention function of ours against the formula; those of GPUs as far as a CPU can compute them."""

from __future__ import annotations

import functools

import pytest

from flax_runtime.attend import Attend
from flax_runtime.cudnn import cudnn_attention
from flax_runtime.pallas import pallas_attention
from flax_runtime.testing.attention_tests import AttentionConformance


class TestXla(AttentionConformance):
    backend = "xla"


class TestCudnn(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "cudnn"


class TestPallas(AttentionConformance):
    """On an NVIDIA GPU."""

    backend = "pallas"


class TestCallsOfCudnn(AttentionConformance):
    """What is handed over to cuDNN, computed by XLA."""

    backend = "cudnn"

    def attend(self, dtype: str) -> Attend:
        if dtype != "bfloat16":
            pytest.skip("cuDNN computes in half types, and XLA's products of float16 are for GPUs alone")
        function = functools.partial(cudnn_attention, implementation="xla")
        return Attend(function, self.backend, frozenset({"mask", "padding", "causal", "window", "bias"}), is_named=True)

    def widest_dtype(self) -> str:
        return "bfloat16"


class TestKernelOfPallas(AttentionConformance):
    """The kernel itself, computed block by block without a GPU."""

    backend = "pallas"

    def attend(self, dtype: str) -> Attend:
        function = functools.partial(pallas_attention, interpret=True)
        return Attend(function, self.backend, frozenset({"padding", "causal"}), min_queries=17)

    def widest_dtype(self) -> str:
        return "float32"
