"""Attend: a backend's attention function as models call it.

A function is told only what its manifest says that it can do (`supports`). The rest is said in another way — causality
and windows as a mask, a mask as numbers that are added to scores — or the call is computed by the plain formula.

Shapes: B batch, T query tokens, S key tokens, N heads, H head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from automodels.backends import BackendReport
from automodels.errors import InputError
from automodels.plugins.host import load_reference
from torch_runtime.attention import eager_attention, lowered


@dataclass(frozen=True)
class Attend:
    """What the attention modules of a model call; calls below `min_queries` query tokens go to the plain formula."""

    function: Callable[..., Tensor]
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
        if q.shape[-2] >= self.min_queries:
            missing = self._missing(mask, bias, dropout)
            try:
                if not missing:
                    return self._told(q, k, v, mask, bias, is_causal, window, scale, dropout)
            except NotImplementedError as error:
                missing = str(error)
            if self.is_named:
                raise InputError(
                    f"The backend {self.name} cannot do this call: it has no {missing}.",
                    hints=['Use backend="auto", which computes such calls by another one.'],
                )
        return eager_attention(
            q, k, v, mask=mask, bias=bias, is_causal=is_causal, window=window, scale=scale, dropout=dropout
        )

    def knows_causality(self, mask: Tensor | None, window: int | None = None) -> bool:
        """Whether the function itself sees to causality, beside a mask and in a window."""
        return mask is None and "causal" in self.supports and (window is None or "window" in self.supports)

    def _told(  # noqa: PLR0917  # all of a call
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        bias: Tensor | None,
        is_causal: bool,
        window: int | None,
        scale: float | None,
        dropout: float,
    ) -> Tensor:
        """What the function makes of arguments that it knows."""
        given: dict[str, Any] = {}
        if mask is not None and self._takes(mask):
            given["mask"] = mask
        elif mask is not None:
            bias = _as_numbers(mask, bias, q.dtype)
        if bias is not None:
            given["bias"] = bias
        if is_causal:
            given["is_causal"] = True
        if window is not None:
            given["window"] = window
        if scale is not None:
            given["scale"] = scale
        if dropout:
            given["dropout"] = dropout
        return self.function(q, k, v, **given)

    def _missing(self, mask: Tensor | None, bias: Tensor | None, dropout: float) -> str:
        """What a call needs and the function does not know; empty where there is nothing."""
        missing = []
        if mask is not None and not self._takes(mask) and "bias" not in self.supports:
            missing.append("masks but of padding" if "padding" in self.supports else "masks")
        if bias is not None and "bias" not in self.supports:
            missing.append("bias")
        if dropout and "dropout" not in self.supports:
            missing.append("dropout")
        return " and no ".join(missing)

    def _takes(self, mask: Tensor) -> bool:
        is_padding = mask.shape[1] == mask.shape[2] == 1
        return "mask" in self.supports or (is_padding and "padding" in self.supports)


def _as_numbers(mask: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that they hide what a mask hides."""
    added = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask, added, torch.finfo(dtype).min)
