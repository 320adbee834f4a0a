"""References of a manifest: what they are for, and so what has to be found there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from automodels.plugins.tables import Manifest


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One `package.module:name` of a manifest, or a module alone."""

    text: str
    role: str
    """`config`, `keymap`, `model`, `hooks`, `implementation` or `probe`."""

    where: str
    """The table that names it, in words."""

    table: int = -1
    """Number of its `[[model]]` or `[[backend]]` table, from 0."""

    @property
    def module(self) -> str:
        return self.text.partition(":")[0]

    @property
    def name(self) -> str:
        """Empty for a module alone."""
        return self.text.partition(":")[2]

    @property
    def is_light(self) -> bool:
        """Whether it has to be readable where there is no framework."""
        return self.role in ("config", "keymap")


def references(manifest: Manifest) -> Iterator[Reference]:
    """All of them, in the order of the manifest; empty ones, which are reported as such, are left out."""
    for found in _all(manifest):
        if found.text:
            yield found


def _all(manifest: Manifest) -> Iterator[Reference]:
    if manifest.hooks:
        yield Reference(text=manifest.hooks, role="hooks", where="hooks")
    for number, table in enumerate(manifest.models):
        where = f"{table.model_type} in {table.framework}"
        yield Reference(text=table.config, role="config", where=f"config of {where}", table=number)
        if table.keymap:
            yield Reference(text=table.keymap, role="keymap", where=f"keymap of {where}", table=number)
        for task, text in table.tasks.items():
            yield Reference(text=text, role="model", where=f"{task} of {where}", table=number)
    for number, backend in enumerate(manifest.backends):
        where = f"the backend {backend.name}"
        yield Reference(
            text=backend.implementation, role="implementation", where=f"implementation of {where}", table=number
        )
        if backend.probe:
            yield Reference(text=backend.probe, role="probe", where=f"probe of {where}", table=number)
