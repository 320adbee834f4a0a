"""Candidate: a plugin under check, as the directory that installing it would give."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from automodels.plugins.entries import Plugin
from automodels.plugins.judge import judged_plugins
from automodels.plugins.scan import Distribution, Scan, read_bounded, scan
from automodels.plugins.settings import Settings
from automodels_cli.findings import Finding


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Everything is read from files; nothing of it is installed or imported."""

    kind: str
    """`project`, `wheel` or `installed`."""

    origin: str
    """As it was named."""

    distribution: Distribution
    path: tuple[str, ...]
    """Directories in which its packages lie; first on `sys.path` of whoever imports them."""

    contents: tuple[str, ...] | None = None
    """Paths of everything that is installed; None where only a build would tell."""

    early: tuple[Finding, ...] = ()
    """What was found while it was opened."""

    pyproject: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def found(self) -> Scan:
        """What a scan of its own site finds, less everything of other distributions."""
        whole = scan([self.distribution.site])
        mine = self.distribution.normalized
        return Scan(
            distributions={mine: self.distribution},
            shadowed=(),
            entry_points=tuple(point for point in whole.entry_points if point.distribution.normalized == mine),
            unreadable=tuple(one for one in whole.unreadable if one.normalized == mine),
        )

    @cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        """Its plugins, judged as those of an installed distribution, whatever this machine's settings are."""
        return judged_plugins(self.found, Settings())

    @property
    def name(self) -> str:
        """The distribution's name as its metadata spell it."""
        return next(iter(self.metadata.get("name", [])), self.distribution.name)

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages that its entry points name."""
        names = (point.value.partition(":")[0].strip() for point in self.found.entry_points)
        return tuple(dict.fromkeys(name for name in names if name.isidentifier()))

    @cached_property
    def metadata(self) -> dict[str, list[str]]:
        """Header of METADATA, in small letters → its values."""
        from email.parser import HeaderParser

        for name in ("METADATA", "PKG-INFO"):
            data = read_bounded(os.path.join(self.distribution.metadata, name))
            if data is not None:
                break
        text = (data or b"").decode("utf-8", "replace")
        found: dict[str, list[str]] = {}
        for key, value in HeaderParser().parsestr(text).items():
            found.setdefault(key.lower(), []).append(str(value))
        return found
