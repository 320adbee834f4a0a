"""BackendReport: what was chosen, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from automodels.backends.situation import Situation
from automodels.plugins.entries import Plugin
from automodels.plugins.tables import BackendTable


@dataclass(frozen=True, kw_only=True)
class BackendCandidate:
    """A declared backend, and why it was not taken."""

    plugin: Plugin
    table: BackendTable
    rejection: str | None = None
    note: str = ""
    """What there is to say of one that can be taken."""

    is_unasked: bool = False
    """Whether it has a probe that was not asked."""

    def __str__(self) -> str:
        verdict = (
            f"rejected: {self.rejection}" if self.rejection else f"accepted{f' ({self.note})' if self.note else ''}"
        )
        return f"{self.table.name} of {self.plugin.name} {self.plugin.version}: {verdict}"


@dataclass(frozen=True, kw_only=True)
class BackendReport:
    """The backend that was chosen, and every other one with the reason."""

    chosen: BackendCandidate
    """The attention function."""

    execution: BackendCandidate | None
    """How calls run; None where no declared way can run and none was asked for: the runtime's own is taken."""

    candidates: tuple[BackendCandidate, ...]
    """All of both kinds, the highest priority first."""

    situation: Situation
    """For what it was chosen."""

    is_named: bool = False
    """Whether the attention function was asked for by name. It then refuses calls that it cannot do."""

    @property
    def name(self) -> str:
        """Name of the attention function."""
        return self.chosen.table.name

    @property
    def spec(self) -> str:
        """The names of both, such as `xla+jit`: what `backend=` takes to have the same again."""
        return self.name if self.execution is None else f"{self.name}+{self.execution.table.name}"

    def __str__(self) -> str:
        return "\n".join([f"backend {self.spec} on {self.situation}", *map(str, self.candidates)])
