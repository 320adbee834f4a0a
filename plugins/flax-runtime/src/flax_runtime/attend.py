"""Attend: a backend's attention function as models call it.

A function is told only what its manifest says that it can do (`supports`). The rest is said in another way — causality
and windows as a mask, a mask as numbers that are added to scores — or the call is computed by the plain formula.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from automodels.backends import BackendReport
from automodels.errors import InputError
from automodels.plugins.host import load_reference
from flax_runtime.attention import MASKED, xla_attention
from flax_runtime.seen import Seen


@dataclasses.dataclass(frozen=True)
class Attend:
    """Two of the same function are equal, so that graphs of modules are kept and found again."""

    function: Callable[..., jax.Array]
    name: str
    supports: frozenset[str]
    min_queries: int = 1
    is_named: bool = False
    """Whether it was asked for by name: then calls that it cannot do are refused."""

    @classmethod
    def of(cls, report: BackendReport) -> Attend:
        """The function of a chosen backend. Raises PluginImportError, PluginReferenceError where there is none."""
        table = report.chosen.table
        function = load_reference(table.implementation, report.chosen.plugin)
        return cls(function, table.name, frozenset(table.supports), table.min_queries, report.is_named)

    def __call__(
        self,
        q: Float[Array, "B T N H"],
        k: Float[Array, "B S N H"],
        v: Float[Array, "B S N H"],
        *,
        mask: Bool[Array, "#B #N #T S"] | None = None,
        bias: Float[Array, "#B #N #T S"] | None = None,
        scale: float | None = None,
        causal: bool = False,
        window: int | None = None,
        offset: int | Int[Array, ""] = 0,
        dropout_rate: float = 0.0,
        dropout_rng: Key[Array, ""] | None = None,
    ) -> Float[Array, "B T N H"]:
        """As `AttentionFunction`. Raises InputError where a backend that was asked for by name cannot do it."""
        seen = Seen(mask=mask, causal=causal, window=window, offset=offset)
        is_dropping = dropout_rng is not None and dropout_rate > 0
        dropout = {"dropout_rate": dropout_rate, "dropout_rng": dropout_rng} if is_dropping else {}
        given: dict[str, Any] = {"scale": scale, "bias": bias, **dropout}
        if q.shape[1] >= self.min_queries:
            known = self._known(seen, q.shape[1], k.shape[1])
            missing = self._missing(known, has_bias=bias is not None, is_dropping=is_dropping)
            try:
                if not missing:
                    return self.function(q, k, v, **self._arguments(known, given))
            except NotImplementedError as error:
                missing = [str(error)]
            if self.is_named:
                raise InputError(
                    f"The backend {self.name} cannot do this call: it has no {' and no '.join(missing)}.",
                    hints=['Use backend="auto", which computes such calls by another one.'],
                )
        return xla_attention(q, k, v, mask=seen.lowered(q.shape[1], k.shape[1]), **given)

    def _known(self, seen: Seen, queries: int, keys: int) -> Seen:
        """What is seen, in the function's own words where it has them."""
        starts_at_first = queries == keys and isinstance(seen.offset, int) and seen.offset == 0
        is_word = starts_at_first and "causal" in self.supports and (seen.window is None or "window" in self.supports)
        is_plain = not seen.causal and seen.window is None
        if is_plain or (seen.causal and is_word):
            return seen
        return Seen(mask=seen.lowered(queries, keys))

    def _missing(self, seen: Seen, *, has_bias: bool, is_dropping: bool) -> list[str]:
        missing = []
        if seen.mask is not None and not self._takes(seen.mask) and "bias" not in self.supports:
            missing.append("masks" if "padding" in self.supports else "padding and no masks")
        if has_bias and "bias" not in self.supports:
            missing.append("bias")
        if is_dropping and "dropout" not in self.supports:
            missing.append("dropout")
        return missing

    def _takes(self, mask: jax.Array) -> bool:
        is_padding = mask.shape[1] == mask.shape[2] == 1
        return "mask" in self.supports or (is_padding and "padding" in self.supports)

    def _arguments(self, seen: Seen, given: dict[str, Any]) -> dict[str, Any]:
        """Those that say something, of what the function knows."""
        mask, bias = seen.mask, given["bias"]
        if mask is not None and not self._takes(mask):
            hidden = jnp.where(mask, 0, MASKED).astype(jnp.float32)
            mask, bias = None, hidden if bias is None else bias + hidden
        words = {"causal": True, "window": seen.window} if seen.causal else {}
        found = {**given, "mask": mask, "bias": bias, **words}
        return {name: value for name, value in found.items() if value is not None}
