"""What is decided after the project file was changed, and whether something stronger decides otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from automodels.errors import AutomodelsError
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.project_file import Project
from automodels.plugins.resolve import Request, resolve_entry
from automodels.plugins.scan import printable
from automodels_cli.output import Output


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The decision for one model type now."""

    task: str
    plugin: str | None = None
    framework: str | None = None
    reason: str | None = None
    error: str | None = None
    """Why nothing is chosen."""

    warnings: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """For JSON."""
        decision = {"task": self.task, "plugin": self.plugin, "framework": self.framework, "reason": self.reason}
        return {"decision": decision | {"error": self.error}, "warnings": list(self.warnings)}

    def print(self, model_type: str, output: Output) -> None:
        """One line of data; warnings on stderr."""
        if self.plugin is not None:
            output.line(f"{self.task} for {model_type} is {self.plugin} now ({self.framework}; {self.reason}).")
        else:
            output.line(f"{self.task} for {model_type} is nothing now: {self.error}")
        for warning in self.warnings:
            output.note(f"warning: {warning}")


def outcome(model_type: str, path: str, project: Project) -> Outcome:
    """What `model_type` gets now that `path` says what `project` says."""
    catalog = load_catalog()
    tasks = sorted({entry.task for entry in catalog.entries_of(model_type)})
    task = "base" if "base" in tasks or not tasks else tasks[0]
    warnings = [*out_of_force(catalog, path), *_stronger(catalog, model_type, project)]
    try:
        found = resolve_entry(catalog, Request(model_type=model_type, task=task))
    except AutomodelsError as error:
        return Outcome(task=task, error=error.message.splitlines()[0], warnings=tuple(warnings))
    entry = found.entry
    return Outcome(
        task=task,
        plugin=entry.plugin.name,
        framework=entry.framework,
        reason=found.reason,
        warnings=tuple(warnings),
    )


def out_of_force(catalog: Catalog, path: str) -> list[str]:
    """That the file which was edited is not the one that counts here."""
    in_force = catalog.settings.project_file
    if not os.path.lexists(path) or _same(in_force, path):
        return []
    return [f"{printable(path)} does not count in this directory; {in_force or 'no project file'} does."]


def _same(in_force: str | None, path: str) -> bool:
    """Whether the project file in force is the one at `path`, which may lead there through a link."""
    return in_force is not None and os.path.realpath(in_force) == os.path.realpath(path)


def _stronger(catalog: Catalog, model_type: str, project: Project) -> list[str]:
    pin = catalog.settings.pin(model_type)
    if pin is None or pin.source == catalog.settings.project_file:
        return []
    said = dict(project.pins).get(model_type)
    instead = f", so {said} is not taken" if said and said != pin.plugin else ""
    return [f"{pin.source} is stronger than the project file and chooses {pin.plugin}{instead}."]
