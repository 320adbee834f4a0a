"""What every attention function of a PyTorch backend has to do; subclass it and name the backend.

>>> class TestMyBackend(AttentionConformance):  # doctest: +SKIP
...     backend = "mine"
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from automodels.backends import AttentionNeeds, Situation, choose_backend
from automodels.errors import BackendUnavailableError
from automodels.needs import covers
from automodels.plugins.catalog import load_catalog
from automodels.testing.attention import (
    CASES,
    DTYPES,
    GRADIENT_ROUNDING,
    AttentionCase,
    AttentionInputs,
    attention_inputs,
    check_attention,
    seen_keys,
)
from torch_runtime.attend import Attend
from torch_runtime.attention import eager_attention
from torch_runtime.devices import capability_of, kind_of
from torch_runtime.masks import causal_mask, combined, window_mask
from torch_runtime.tensors import TORCH_DTYPES

PLAIN = Attend(eager_attention, "plain", frozenset({"mask", "bias"}))


def attend_for(backend: str, dtype: str, device: torch.device, head_size: int = 64) -> Attend:
    """The backend's function on a device; raises BackendUnavailableError where it cannot run."""
    needs = AttentionNeeds(head_sizes=(head_size,), possible=frozenset())
    here = Situation(
        framework="torch", device=kind_of(device), capability=capability_of(device), dtype=dtype, needs=needs
    )
    return Attend.of(choose_backend(load_catalog(), backend, here))


def tensors(case: AttentionCase, dtype: str, device: torch.device) -> tuple[AttentionInputs, tuple[Tensor, ...]]:
    """The inputs of a case, and queries, keys and values [B, N, T, H] on a device."""
    inputs = attention_inputs(case, dtype)
    arrays = (torch.tensor(array, dtype=TORCH_DTYPES[dtype], device=device) for array in (inputs.q, inputs.k, inputs.v))
    return inputs, tuple(array.transpose(1, 2) for array in arrays)


def attended(attend: Any, case: AttentionCase, inputs: AttentionInputs, *arrays: Tensor) -> Tensor:
    """[B, N, T, H] what a function makes of queries, keys and values in a case.

    As in a model, causality is said in a word where all are queries, and by a mask behind a cache.
    """
    device = arrays[0].device
    mask = None if inputs.padding is None else torch.tensor(inputs.padding, device=device)[:, None, None]
    is_word = case.causal and case.queries == case.keys and case.offset == 0
    window = case.window if is_word else None
    if case.causal and not is_word:
        mask = combined(mask, causal_mask(case.queries, case.keys, device, case.offset))
        if case.window is not None:
            mask = combined(mask, window_mask(case.queries, case.keys, case.window, device, case.offset))
    bias = None if inputs.bias is None else torch.tensor(inputs.bias, dtype=torch.float32, device=device)
    found: Tensor = attend(*arrays, mask=mask, bias=bias, is_causal=is_word, window=window, scale=case.scale)
    return found


class AttentionConformance:
    """The backend computes what the plain formula says, or refuses."""

    backend: ClassVar[str]
    device: ClassVar[str] = "cpu"
    has_gradients: ClassVar[bool] = True

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        """The function; for a suite of one that is not installed to override."""
        try:
            return attend_for(self.backend, dtype, self.here, head_size)
        except BackendUnavailableError as error:
            pytest.skip(str(error))

    @property
    def here(self) -> torch.device:
        """Where it is tested."""
        device = torch.device(self.device)
        if device.type == "cuda" and not torch.cuda.is_available():
            pytest.skip("torch has no GPU here")
        return device

    def doable(self, case: AttentionCase, dtype: str) -> Attend:
        """The function, for a case that it says it can do."""
        attend = self.attend(dtype, case.head_size)
        is_masked = case.causal and (case.offset or case.queries != case.keys)
        needed = case.features | ({"mask"} if is_masked else set())
        missing = [name for name in needed if not covers(attend.supports, name)]
        if missing:
            pytest.skip(f"{self.backend} does not support {', '.join(sorted(missing))}")
        if case.causal and case.padding and not {"mask", "bias"} & attend.supports:
            pytest.skip(f"{self.backend} does not support causality beside padding")
        return attend

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_it_computes_the_formula(self, case: AttentionCase, dtype: str) -> None:
        attend = self.doable(case, dtype)
        inputs, arrays = tensors(case, dtype, self.here)

        with torch.no_grad():
            found = attended(attend, case, inputs, *arrays)

        assert found.dtype == TORCH_DTYPES[dtype]
        check_attention(found.transpose(1, 2).float().cpu().numpy(), case, inputs, dtype)

    @pytest.mark.parametrize("case", [case for case in CASES if case.keys == case.queries == 37], ids=str)
    def test_gradients_are_those_of_the_plain_formula(self, case: AttentionCase) -> None:
        if not self.has_gradients:
            pytest.skip("declared: has_gradients = False")
        dtype = self.widest_dtype(case.head_size)
        attend = self.doable(case, dtype)
        inputs, arrays = tensors(case, dtype, self.here)
        asks = torch.tensor(seen_keys(case, inputs).any(axis=-1), device=self.here)[..., None]

        def gradients(attend: Attend, *given: Tensor) -> tuple[Tensor, ...]:
            leaves = [array.detach().requires_grad_() for array in given]
            result = attended(attend, case, inputs, *leaves).float()
            numbers = torch.arange(result.numel(), device=self.here).reshape(result.shape)
            return torch.autograd.grad(torch.where(asks, result * numbers.cos(), 0).sum(), leaves)

        found = gradients(attend, *arrays)
        expected = gradients(PLAIN, *(array.float() for array in arrays))

        for one, other in zip(found, expected, strict=True):
            assert bool(one.isfinite().all())
            difference = (one.float() - other).abs().max() / other.abs().max()
            assert float(difference) < GRADIENT_ROUNDING[dtype]

    def widest_dtype(self, head_size: int = 64) -> str:
        """float32, or else the first type that the backend computes in."""
        for dtype in DTYPES:
            with contextlib.suppress(BackendUnavailableError):
                attend_for(self.backend, dtype, self.here, head_size)
                return dtype
        return DTYPES[0]
