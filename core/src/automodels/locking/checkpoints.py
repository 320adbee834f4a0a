"""Checkpoints in a lock: what they are called there, where they lie, and what is written down about them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from automodels.checkpoint.companions import MODULES, is_data, module_folders
from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.checkpoint.locate import Location
from automodels.checkpoint.needed import fetch_weights
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.stability import while_unchanged
from automodels.errors import InputError
from automodels.locking.checkpoint_files import Progress, files_of, locked_files
from automodels.locking.contents import Choices, Lock, LockedCheckpoint, LockedFile
from automodels.locking.decisions import choices_for, different, installed_only, tasks_of
from automodels.plugins.catalog import Catalog
from automodels.plugins.manifest import NAME
from automodels.plugins.recorded import recorded_in
from automodels.plugins.scan import normalized, shown

OF_MODULES = ("config.json", "model.safetensors", "pytorch_model.bin")  # pooling has the first only


def locked_name(location: Location, lock_path: str | os.PathLike[str]) -> str:
    """What a checkpoint is called in a lock file; raises InputError for one that cannot be locked."""
    if location.source == "directory":
        here = os.path.dirname(os.path.realpath(lock_path))
        relative = Path(os.path.relpath(os.path.realpath(location.directory), here)).as_posix()
        return relative if relative.startswith("../") or relative in (".", "..") else f"./{relative}"
    if location.source == "package":
        distribution, _, path = location.name.removeprefix("pkg:").partition("/")
        return f"pkg:{normalized(distribution)}/{os.path.normpath(path).replace(os.sep, '/')}"
    if location.source == "hub" and not location.subfolder:
        return location.name
    raise InputError(
        f"{shown(location.name)} cannot be locked: only directories, pkg:distribution/path and models on the Hub can."
    )


def place(name: str, source: str, lock_path: str | os.PathLike[str]) -> str | Path:
    """What `locate` finds a locked checkpoint by; raises InputError when name and source do not fit."""
    if source == "directory" and name.partition("/")[0] in (".", ".."):
        return Path(os.path.dirname(os.path.realpath(lock_path)), name)
    odd = name.startswith((".", "/", "~")) or "\\" in name or "://" in name
    if source == "directory" or odd or name.startswith("pkg:") is not (source == "package"):
        raise InputError(f"{shown(name)} in the lock file cannot be the name of a checkpoint of the kind {source!r}.")
    return name


def find_checkpoint(
    lock: Lock, lock_path: str | os.PathLike[str], location: Location
) -> tuple[str, LockedCheckpoint] | None:
    """The locked checkpoint that lies where `location` does, and its name in the lock; None when it is not locked."""
    if location.source not in ("directory", "package", "hub") or location.subfolder:
        return None
    name = locked_name(location, lock_path)
    found = lock.checkpoints.get(name)
    return None if found is None or found.source != location.source else (name, found)


def locked_checkpoint(catalog: Catalog, location: Location, progress: Progress | None = None) -> LockedCheckpoint:
    """A checkpoint as it is now; of a model on the Hub the files that loading needs, which are fetched. All is read.

    Raises ConfigError, CheckpointError, InputError when it cannot be locked.
    """
    model_type = checked_type(location)
    directory = location.directory
    wanted = _of_the_hub(location) if location.source == "hub" else None

    def read() -> dict[str, LockedFile]:
        found = files_of(directory)
        return locked_files({name: found[name] for name in found if wanted is None or name in wanted}, progress)

    files = while_unchanged(directory, [CONFIG_NAME], read)
    return LockedCheckpoint(
        source=location.source,
        model_type=model_type,
        commit=location.commit,
        decisions=decisions_of(catalog, location.config),
        files=files,
    )


def _of_the_hub(location: Location) -> set[str]:
    """Names of the files that loading needs, whatever else a cache has; they are fetched."""
    fetch_weights(location)
    beside = {name for name in location.names() if is_data(name)}
    location.fetch(*beside)
    folders = module_folders(location.directory / MODULES) if MODULES in beside else []
    below = {f"{folder}/{name}" for folder in folders for name in OF_MODULES}
    location.fetch(*below)
    checkpoint = Checkpoint.open(location.directory)
    return {*beside, *below, *checkpoint.files, *([checkpoint.index] if checkpoint.index else [])}


def checked_type(location: Location) -> str:
    """The model type of a checkpoint; raises InputError for one that no plugin can offer."""
    model_type: str = location.config["model_type"]
    if NAME.fullmatch(model_type) is None:
        raise InputError(f"{shown(model_type)}, the model type of {location.name}, is not a name.")
    return model_type


def decisions_of(catalog: Catalog, config: Mapping[str, object]) -> dict[str, Choices]:
    """What a checkpoint gets where the plugin that it was saved with makes a difference."""
    recorded, model_type = recorded_in(config), str(config["model_type"])
    if recorded is None:
        return {}
    catalog = installed_only(catalog)

    def choices(tasks: Iterable[str], *, wishing: bool) -> dict[str, Choices]:
        found = ((task, choices_for(catalog, model_type, task, recorded if wishing else None)) for task in tasks)
        return {task: choices for task, choices in found if choices}

    tasks = tasks_of(catalog, model_type)
    return different(choices(tasks, wishing=True), choices(tasks, wishing=False))
