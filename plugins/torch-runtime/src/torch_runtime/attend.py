"""Attend: a backend's attention function as PyTorch models call it.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from automodels.runtime.attending import BackendFunction
from torch_runtime.attention import as_numbers, eager_attention, lowered


@dataclass(frozen=True)
class Attend(BackendFunction):
    """What the attention modules of a model call."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        is_causal: bool = False,
        window: int | None = None,
        scale: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """As `AttentionFunction`, also with a mask beside causality.

        Raises InputError where a backend that was asked for by name cannot do it.
        """
        if is_causal and (bias is not None or not self.knows_causality(mask, window)):
            mask, is_causal, window = lowered(q, k, mask, window), False, None
        given: dict[str, Any] = {
            "mask": mask,
            "bias": bias,
            "is_causal": is_causal or None,
            "window": window,
            "scale": scale,
        }
        given["dropout"] = dropout or None
        if q.shape[-2] >= self.min_queries:
            missing = self.missing(mask, has_bias=bias is not None, is_dropping=dropout > 0)
            try:
                if not missing:
                    known = given
                    if mask is not None and not self.takes(mask):
                        known = {**given, "mask": None, "bias": as_numbers(mask, bias, q.dtype)}
                    found: Tensor = self.function(q, k, v, **_said(known))
                    return found
            except NotImplementedError as error:  # it has no such shapes
                missing = str(error)
            self.refuse(missing)
        return eager_attention(q, k, v, **_said(given))

    def knows_causality(self, mask: Tensor | None, window: int | None = None) -> bool:
        """Whether the function itself sees to causality, beside a mask and in a window."""
        return mask is None and self.knows_window(window)


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say something."""
    return {name: value for name, value in given.items() if value is not None}
