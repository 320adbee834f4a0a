"""BackendFunction: an attention function with what its manifest says it knows, as every runtime's models call it.

A function is told only what it knows. The rest is said in another way — causality and windows as a mask, a mask as
numbers that are added to scores — or the call is computed by the plain formula, which each runtime has of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from automodels.backends import BackendReport
from automodels.errors import InputError
from automodels.plugins.host import load_reference


@dataclass(frozen=True)
class BackendFunction:
    """Two of the same function are equal, so that what is made with them can be kept and found again."""

    function: Callable[..., Any]
    name: str
    supports: frozenset[str]
    """Of `automodels.plugins.tables.FEATURES`."""

    min_queries: int = 1
    """Calls of fewer query tokens go to the plain formula."""

    is_named: bool = False
    """Whether it was asked for by name: then calls that it cannot do are refused."""

    @classmethod
    def of(cls, report: BackendReport) -> Self:
        """The function of a chosen backend. Raises PluginImportError, PluginReferenceError where there is none."""
        table = report.chosen.table
        function = load_reference(table.implementation, report.chosen.plugin)
        return cls(function, table.name, frozenset(table.supports), table.min_queries, report.is_named)

    def knows_window(self, window: int | None) -> bool:
        """Whether it sees to causality itself, in a window of so many keys or in none."""
        return "causal" in self.supports and (window is None or "window" in self.supports)

    def takes(self, mask: Any) -> bool:
        """Whether it knows masks such as this one, which has four axes."""
        is_padding = mask.shape[1] == mask.shape[2] == 1
        return "mask" in self.supports or (is_padding and "padding" in self.supports)

    def missing(self, mask: Any, *, has_bias: bool, is_dropping: bool) -> str:
        """What a call needs and the function does not know, in words; empty where there is nothing."""
        lacks = []
        if mask is not None and not self.takes(mask) and "bias" not in self.supports:
            lacks.append("masks but of padding" if "padding" in self.supports else "masks")
        if has_bias and "bias" not in self.supports:
            lacks.append("bias")
        if is_dropping and "dropout" not in self.supports:
            lacks.append("dropout")
        return " and no ".join(lacks)

    def refuse(self, missing: str) -> None:
        """Raises InputError for a call that it cannot do, if it was asked for by name."""
        if self.is_named:
            raise InputError(
                f"The backend {self.name} cannot do this call: it has no {missing}.",
                hints=['Use backend="auto", which computes such calls by another one.'],
            )
