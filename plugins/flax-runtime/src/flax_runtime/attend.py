"""Attend: a backend's attention function as Flax models call it.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from automodels.runtime.attending import BackendFunction
from flax_runtime.attention import MASKED, xla_attention
from flax_runtime.seen import Seen


@dataclasses.dataclass(frozen=True)
class Attend(BackendFunction):
    """What the attention modules of a model call."""

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
            missing = self.missing(known.mask, has_bias=bias is not None, is_dropping=is_dropping)
            try:
                if not missing:
                    found: jax.Array = self.function(q, k, v, **self._arguments(known, given))
                    return found
            except NotImplementedError as error:  # it has no such shapes
                missing = str(error)
            self.refuse(missing)
        return xla_attention(q, k, v, mask=seen.lowered(q.shape[1], k.shape[1]), **given)

    def _known(self, seen: Seen, queries: int, keys: int) -> Seen:
        """What is seen, in the function's own words where it has them."""
        if not seen.causal and seen.window is None:
            return seen
        starts_at_first = queries == keys and isinstance(seen.offset, int) and seen.offset == 0
        is_word = seen.causal and starts_at_first and self.knows_window(seen.window)
        return seen if is_word else Seen(mask=seen.lowered(queries, keys))

    def _arguments(self, seen: Seen, given: dict[str, Any]) -> dict[str, Any]:
        """Those that say something, of what the function knows."""
        mask, bias = seen.mask, given["bias"]
        if mask is not None and not self.takes(mask):
            hidden = jnp.where(mask, 0, MASKED).astype(jnp.float32)
            mask, bias = None, hidden if bias is None else bias + hidden
        words = {"causal": True, "window": seen.window} if seen.causal else {}
        found = {**given, "mask": mask, "bias": bias, **words}
        return {name: value for name, value in found.items() if value is not None}
