"""Plugins and entries: the rows of the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from automodels.plugins.problems import Problem
from automodels.plugins.tables import Manifest

FIRST_PARTY = frozenset({
    "flax-runtime", "flax-bert", "flax-opt", "flax-gptneo", "torch-runtime", "torch-heads",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Plugin:
    """One installed plugin."""

    name: str
    version: str
    location: str
    """The directory of its package, or of its metadata when the package was not found."""

    editable: bool
    manifest: Manifest | None
    """None when it could not be read."""

    distribution: str = ""
    """Name of the installed distribution that it came with; empty for one that was registered at run time."""

    manifest_file: str = ""
    """Where its manifest lies; empty when there is none."""

    problems: tuple[Problem, ...] = ()

    @property
    def state(self) -> str:
        """`ok`, `empty` (offers nothing), `disabled`, `incompatible` or `broken`; only the first may be chosen."""
        codes = {problem.code for problem in self.problems if problem.fatal}
        if "P302" in codes:  # the user's decision comes first: what is switched off need not be in order
            return "disabled"
        if codes - {"P301"}:
            return "broken"
        if "P301" in codes:
            return "incompatible"
        manifest = self.manifest
        if manifest is None:
            return "ok"  # registered at run time
        return "ok" if manifest.offers else "empty"

    @property
    def fatal(self) -> Problem | None:
        """The first reason why it may not be used."""
        return next((problem for problem in self.problems if problem.fatal), None)

    @property
    def refusal(self) -> str | None:
        """Why nothing of it may be chosen, in words; None when it may."""
        if self.state == "ok":
            return None
        return self.fatal.message if self.fatal else f"the plugin is {self.state}"

    def __repr__(self) -> str:
        return f"<Plugin {self}: {self.state}>"

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({'editable, ' if self.editable else ''}{self.location})"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Entry:
    """Model type × task × framework of one plugin."""

    plugin: Plugin
    model_type: str
    task: str
    framework: str
    config: str | type
    """Reference of the config class, or the class itself when it was registered at run time."""

    model: str | type
    """Reference of the model class, or the class itself."""

    requires: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Entry {self.task} for {self.model_type} in {self.framework}, {self.plugin.name}>"
