"""What a catalog decides: for every model type and task the class that each request gets. Nothing is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from automodels.errors import ResolutionError, StrictModeError
from automodels.locking.contents import ANY, Choice, Choices, LockedPlugin
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Entry, Plugin
from automodels.plugins.manifest import FRAMEWORKS, MANIFEST_BYTES
from automodels.plugins.recorded import Recorded
from automodels.plugins.resolve import Request, resolve_entry
from automodels.plugins.scan import read_bounded


def installed_only(catalog: Catalog) -> Catalog:
    """The catalog without what was registered at run time, which no lock can know."""
    return replace(catalog, registered=()) if catalog.registered else catalog


def locked_plugins(catalog: Catalog) -> dict[str, LockedPlugin]:
    """Every plugin that may be used."""
    return {plugin.name: locked_plugin(plugin) for plugin in catalog.plugins if plugin.state in ("ok", "empty")}


def locked_plugin(plugin: Plugin) -> LockedPlugin:
    """Version and manifest of a plugin as they are now."""
    data = read_bounded(plugin.manifest_file, MANIFEST_BYTES) if plugin.manifest_file else None
    digest = hashlib.sha256(data or b"").hexdigest()
    return LockedPlugin(distribution=plugin.distribution, version=plugin.version, manifest=digest)


def all_decisions(catalog: Catalog) -> dict[str, dict[str, Choices]]:
    """Model type → task → choices, for everything that usable plugins offer. Raises StrictModeError."""
    catalog = installed_only(catalog)
    return {
        model_type: found
        for model_type in catalog.model_types
        if (found := {task: choices for task in tasks_of(catalog, model_type)
                      if (choices := choices_for(catalog, model_type, task))})
    }  # fmt: skip


def tasks_of(catalog: Catalog, model_type: str) -> list[str]:
    """Tasks that anybody offers for a model type."""
    return sorted({entry.task for entry in catalog.entries_of(model_type)})


def choices_for(catalog: Catalog, model_type: str, task: str, recorded: Recorded | None = None) -> Choices:
    """What every request for a model type and task gets; empty when all who offer it are out of use.

    Raises StrictModeError.
    """
    offering = [entry for entry in catalog.entries_of(model_type) if entry.task == task]
    usable = [entry for entry in offering if entry.plugin.state == "ok"]
    frameworks = [name for name in FRAMEWORKS if any(entry.framework == name for entry in usable)]
    if not frameworks:
        return {}
    asked = {ANY: None, **{name: name for name in frameworks}}
    requests = {
        key: Request(model_type=model_type, task=task, framework=framework, recorded=recorded)
        for key, framework in asked.items()
    }
    return {key: _choice(catalog, request) for key, request in requests.items()}


def choice_of(entry: Entry) -> Choice:
    """The entry as it stands in a lock."""
    return Choice(plugin=entry.plugin.name, model=_reference(entry.model), config=_reference(entry.config))


def different(choices: Mapping[str, Choices], usual: Mapping[str, Choices]) -> dict[str, Choices]:
    """Those tasks whose choices are not the usual ones."""
    return {task: found for task, found in choices.items() if found != usual.get(task)}


def _choice(catalog: Catalog, request: Request) -> Choice:
    try:
        return choice_of(resolve_entry(catalog, request).entry)
    except StrictModeError:
        raise
    except ResolutionError as error:
        return Choice(error=error.code)


def _reference(target: str | type) -> str:
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"
