"""Drift: where what is here now is not what a lock file says, one value for each difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from automodels.checkpoint.locate import Location
from automodels.errors import AutomodelsError
from automodels.locking.checkpoint_files import Progress, changes, files_of
from automodels.locking.checkpoints import checked_type, decisions_of
from automodels.locking.contents import ANY, NOTHING, Choices, Lock, LockedCheckpoint, LockedPlugin
from automodels.locking.decisions import choices_for, installed_only, locked_plugin
from automodels.plugins.catalog import Catalog
from automodels.plugins.judge import PLUGIN_API


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One difference."""

    kind: str
    """`api`, `plugin`, `version`, `manifest`, `decision`, `checkpoint`, `commit` or `file`."""

    subject: str
    """The plugin, model type or checkpoint."""

    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


def catalog_drift(lock: Lock, catalog: Catalog) -> list[Drift]:
    """Everything about plugins and decisions. Imports nothing; raises StrictModeError."""
    found = []
    if lock.plugin_api != PLUGIN_API:
        message = f"{lock.plugin_api} is locked; this is {PLUGIN_API}"
        found.append(Drift(kind="api", subject="plugin API", message=message))
    for name, locked in lock.plugins.items():
        found += plugin_drift(name, locked, catalog)
    catalog = installed_only(catalog)
    for model_type, tasks in lock.decisions.items():
        for task, choices in tasks.items():
            now = choices_for(catalog, model_type, task)
            found += _decision_drift(f"{task} for {model_type}", choices, now)
    return found


def plugin_drift(name: str, locked: LockedPlugin, catalog: Catalog) -> Iterator[Drift]:
    """What is different about one plugin."""
    usable = (plugin for plugin in catalog.plugins if plugin.name == name and plugin.state in ("ok", "empty"))
    plugin = next(usable, catalog.plugin(name))
    if plugin is None or plugin.state not in ("ok", "empty"):
        why = "is not installed" if plugin is None else f"cannot be used: {plugin.refusal}"
        yield Drift(kind="plugin", subject=name, message=f"{why}; {locked.version} is locked")
        return
    now = locked_plugin(plugin)
    if now.distribution != locked.distribution:
        message = f"comes with the distribution {now.distribution}; {locked.distribution} is locked"
        yield Drift(kind="plugin", subject=name, message=message)
    if now.version != locked.version:
        yield Drift(kind="version", subject=name, message=f"{now.version} is installed; {locked.version} is locked")
    if now.manifest != locked.manifest:
        yield Drift(kind="manifest", subject=name, message="the manifest has changed (sha256)")


def checkpoint_drift(
    name: str,
    locked: LockedCheckpoint,
    catalog: Catalog,
    find: Callable[[], Location],
    progress: Progress | None = None,
) -> list[Drift]:
    """What is different about one checkpoint, which `find` locates; that it is not there is a difference too."""
    try:
        location = find()
        if locked.commit is not None and location.commit != locked.commit:
            message = f"it is commit {str(location.commit)[:12]} now; {locked.commit[:12]} is locked"
            return [Drift(kind="commit", subject=name, message=message)]
        model_type = checked_type(location)
        decisions = decisions_of(catalog, location.config)
        # Names in a lock file are compared with what a walk finds. They are never opened.
        found = file_drift(name, locked, location, progress)
    except AutomodelsError as error:
        return [Drift(kind="checkpoint", subject=name, message=error.message.splitlines()[0])]
    if model_type != locked.model_type:
        message = f"its model type is {model_type}; {locked.model_type} is locked"
        found.insert(0, Drift(kind="checkpoint", subject=name, message=message))
    for task in sorted({*locked.decisions, *decisions}):
        found += _decision_drift(f"{name}, {task}", locked.decisions.get(task, {}), decisions.get(task, {}))
    return found


def file_drift(
    name: str, locked: LockedCheckpoint, location: Location, progress: Progress | None = None
) -> list[Drift]:
    """Files of a checkpoint that are not what was locked; those of a model on the Hub are fetched.

    Raises CheckpointError, HubError, InputError.
    """
    location.fetch(*locked.files)
    found = changes(locked.files, files_of(location.directory), complete=location.source != "hub", progress=progress)
    return [Drift(kind="file", subject=name, message=f"{file} {how}") for file, how in found.items()]


def _decision_drift(subject: str, locked: Choices, now: Choices) -> Iterator[Drift]:
    for asked in sorted({*locked, *now}):
        before, after = locked.get(asked, NOTHING), now.get(asked, NOTHING)
        if before == after:
            continue
        request = "" if asked == ANY else f" with framework={asked}"
        message = f"would get {after.beside(before)}{request}; {before.beside(after)} is locked"
        yield Drift(kind="decision", subject=subject, message=message)
