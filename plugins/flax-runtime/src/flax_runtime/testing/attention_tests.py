"""What every attention function of a Flax backend has to do; subclass it and name the backend.

>>> class TestMyBackend(AttentionConformance):  # doctest: +SKIP
...     backend = "mine"
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import pytest

from automodels.backends import AttentionNeeds, choose_backend
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
from flax_runtime.attend import Attend
from flax_runtime.attention import xla_attention
from flax_runtime.devices import situation


def attend_for(backend: str, dtype: str, head_size: int = 64) -> Attend:
    """The backend's function on JAX's first device; raises BackendUnavailableError where it cannot run."""
    needs = AttentionNeeds(head_sizes=(head_size,), possible=frozenset())
    return Attend.of(choose_backend(load_catalog(), backend, situation(dtype, needs)))


def attended(attend: Any, case: AttentionCase, inputs: AttentionInputs, *arrays: jax.Array) -> jax.Array:
    """[B, T, N, H] what a function makes of queries, keys and values in a case."""
    found: jax.Array = attend(
        *arrays,
        mask=None if inputs.padding is None else jnp.asarray(inputs.padding)[:, None, None],
        bias=None if inputs.bias is None else jnp.asarray(inputs.bias, jnp.float32),
        scale=case.scale,
        causal=case.causal,
        window=case.window,
        offset=case.offset,
    )
    return found


class AttentionConformance:
    """The backend computes what the plain formula says, or refuses."""

    backend: ClassVar[str]

    def attend(self, dtype: str, head_size: int = 64) -> Attend:
        """The function; for a suite of one that is not installed to override."""
        try:
            return attend_for(self.backend, dtype, head_size)
        except BackendUnavailableError as error:
            pytest.skip(str(error))

    def doable(self, case: AttentionCase, dtype: str) -> Attend:
        """The function, for a case that it says it can do."""
        attend = self.attend(dtype, case.head_size)
        missing = [name for name in case.features if not covers(attend.supports, name)]
        if missing:
            pytest.skip(f"{self.backend} does not support {', '.join(sorted(missing))}")
        return attend

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_it_computes_the_formula(self, case: AttentionCase, dtype: str) -> None:
        attend, inputs = self.doable(case, dtype), attention_inputs(case, dtype)
        arrays = [jnp.asarray(array, dtype) for array in (inputs.q, inputs.k, inputs.v)]

        with jax.default_matmul_precision("float32"):
            found = jax.jit(functools.partial(attended, attend, case, inputs))(*arrays)

        assert found.dtype == dtype
        check_attention(found.astype(jnp.float32), case, inputs, dtype)

    @pytest.mark.parametrize("case", [case for case in CASES if case.keys == case.queries == 37], ids=str)
    def test_gradients_are_those_of_the_plain_formula(self, case: AttentionCase) -> None:
        dtype = self.widest_dtype()
        attend, inputs = self.doable(case, dtype), attention_inputs(case, dtype)
        arrays = [jnp.asarray(array, dtype) for array in (inputs.q, inputs.k, inputs.v)]
        plain = Attend(xla_attention, "plain", frozenset({"mask", "bias"}))
        asks = jnp.asarray(seen_keys(case, inputs)).any(axis=-1)[:, 0, :, None, None]

        def loss(attend: Attend, *arrays: jax.Array) -> jax.Array:
            result = attended(attend, case, inputs, *arrays).astype(jnp.float32)
            return jnp.where(asks, result * jnp.cos(jnp.arange(result.size)).reshape(result.shape), 0).sum()

        with jax.default_matmul_precision("float32"):
            found = jax.jit(jax.grad(functools.partial(loss, attend), (0, 1, 2)))(*arrays)
            expected = jax.jit(jax.grad(functools.partial(loss, plain), (0, 1, 2)))(
                *(array.astype(jnp.float32) for array in arrays)
            )

        for one, other in zip(found, expected, strict=True):
            assert bool(jnp.isfinite(one).all())
            difference = jnp.abs(one.astype(jnp.float32) - other).max() / jnp.abs(other).max()
            assert float(difference) < GRADIENT_ROUNDING[dtype]

    def widest_dtype(self) -> str:
        """float32, or else the first type that the backend computes in."""
        for dtype in DTYPES:
            with contextlib.suppress(BackendUnavailableError):
                attend_for(self.backend, dtype)
                return dtype
        return DTYPES[0]
