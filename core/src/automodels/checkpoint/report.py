"""LoadReport: what loading a model did, for people and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from automodels.checkpoint.plan import Plan
from automodels.errors import listed


@dataclass(frozen=True, kw_only=True, repr=False)
class LoadReport:
    """What became of every tensor and every parameter."""

    source: str
    """Name of the checkpoint, as it was asked for."""

    files: tuple[str, ...]
    loaded: tuple[str, ...]
    """Parameters filled from tensors."""

    missing: tuple[str, ...]
    """Parameters that are fresh, because there is no tensor for them."""

    unexpected: tuple[str, ...]
    """Tensors that no parameter takes."""

    mismatched: tuple[str, ...]
    """Parameters that are fresh, because the tensor's shape differs."""

    cast: tuple[str, ...]
    """Parameters whose tensor had another type."""

    buffers: tuple[str, ...]
    """Tensors of old versions that are no parameters."""

    tied: tuple[str, ...]
    """Tensors that hold once more what a parameter got from another one."""

    nbytes: int
    """Bytes of tensor data that were used."""

    seconds: float
    """From the first header to the last parameter."""

    plugin: str = ""
    backend: Any = None

    @classmethod
    def of(cls, plan: Plan, *, source: str, files: tuple[str, ...], seconds: float, **more: Any) -> LoadReport:
        """The report on a plan that was carried out."""
        return cls(
            source=source,
            files=files,
            loaded=tuple(assignment.parameter for assignment in plan.assignments),
            missing=plan.fresh,
            unexpected=plan.unexpected,
            mismatched=plan.mismatched,
            cast=tuple(assignment.parameter for assignment in plan.assignments if assignment.is_cast),
            buffers=plan.buffers,
            tied=tuple(plan.tied),
            nbytes=sum(assignment.tensor.nbytes for assignment in plan.assignments),
            seconds=seconds,
            **more,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self).splitlines()[0]}>"

    def __str__(self) -> str:
        lines = [
            f"{self.source}: {len(self.loaded)} parameters from {listed(self.files, limit=2)}, "
            f"{self.nbytes / 1e6:.1f} MB in {self.seconds:.2f} s"
        ]
        for word in ("missing", "unexpected", "mismatched", "cast", "buffers", "tied"):
            names = getattr(self, word)
            if names:
                lines.append(f"{word}: {len(names)} ({listed(names, limit=3)})")
        return "\n".join(lines)
