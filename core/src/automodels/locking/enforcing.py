"""Holding a load against the lock file in force: the class, its plugin, and every byte of a locked checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable

from automodels.checkpoint.locate import Location
from automodels.errors import LockError
from automodels.locking.checkpoints import find_checkpoint
from automodels.locking.contents import ANY, NOTHING, Lock
from automodels.locking.decisions import choice_of
from automodels.locking.drift import file_drift, plugin_drift
from automodels.locking.lock_file import read_lock
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.resolve import Request, Resolution
from automodels.plugins.scan import printable

_read: dict[tuple[str, int, int, int], Lock] = {}


def check_decision(
    lock_path: str, catalog: Catalog, request: Request, resolution: Resolution, location: Location | None
) -> None:
    """Raises LockError unless the lock has exactly this choice, by plugins that are what was locked.

    Raises InputError when the lock file is missing or malformed.
    """
    lock, what = _current(lock_path), f"{request.task} for {request.model_type}"
    checkpoint = find_checkpoint(lock, lock_path, location) if location is not None else None
    name, locked = checkpoint or ("", None)
    wrong = []
    if locked is not None and location is not None and locked.commit not in (None, location.commit):
        wrong.append(f"{name} is commit {str(location.commit)[:12]}; {str(locked.commit)[:12]} is locked")
    choices = locked.decisions.get(request.task) if locked is not None else None
    if choices is None:
        choices = lock.decisions.get(request.model_type, {}).get(request.task)
    choice = choices.get(request.framework or ANY) if choices is not None else None
    now = choice_of(resolution.entry)
    if choices is None:
        wrong.append(f"{what} is not in it")
    elif choice != now and not (request.plugin and now in choices.values()):  # said in the call itself
        locked_choice = choice or NOTHING
        because = f" ({resolution.reason})" if request.plugin else ""
        wrong.append(f"{what} would get {now.beside(choice)}{because}; {locked_choice.beside(now)} is locked")
    wrong += _changed_plugins(lock, catalog, [resolution.entry.plugin, *_beside(catalog, resolution)])
    _refuse(lock_path, wrong, trace=[str(candidate) for candidate in resolution.candidates])


def check_config(lock_path: str, catalog: Catalog, model_type: str, reference: str | type, plugin: Plugin) -> None:
    """Raises LockError unless the lock has this config class for the model type; InputError like `check_decision`."""
    lock = _current(lock_path)
    text = reference if isinstance(reference, str) else f"{reference.__module__}:{reference.__qualname__}"
    known = {choice.config for choices in lock.decisions.get(model_type, {}).values() for choice in choices.values()}
    wrong = [] if text in known else [f"the config class {text} for {model_type} is not in it"]
    wrong += _changed_plugins(lock, catalog, [plugin])
    _refuse(lock_path, wrong)


def check_files(lock_path: str, location: Location) -> None:
    """Raises LockError unless the files of a locked checkpoint are those that were locked; every byte is read.

    A checkpoint that is not in the lock is not looked at.
    """
    found = find_checkpoint(_current(lock_path), lock_path, location)
    if found is not None:
        _refuse(lock_path, [str(drift) for drift in file_drift(*found, location)])


def _current(path: str) -> Lock:
    """The lock, read again when the file is another one."""
    try:
        status = os.stat(path)
    except OSError:
        return read_lock(path)  # which says why
    key = (os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _read:
        lock = read_lock(path)
        _read.clear()
        _read[key] = lock
    return _read[key]


def _beside(catalog: Catalog, resolution: Resolution) -> list[Plugin]:
    """Plugins that bring backends for the framework: one of these computes, whoever's the model is."""
    return [plugin for plugin, _ in catalog.backends(resolution.entry.framework) if plugin.state == "ok"]


def _changed_plugins(lock: Lock, catalog: Catalog, plugins: Iterable[Plugin]) -> list[str]:
    wrong = []
    for plugin in {plugin.name: plugin for plugin in plugins}.values():
        locked = lock.plugins.get(plugin.name)
        if locked is None:
            wrong.append(f"the plugin {plugin.name} {plugin.version} is not in it")
        else:
            wrong += [str(drift) for drift in plugin_drift(plugin.name, locked, catalog)]
    return wrong


def _refuse(lock_path: str, wrong: list[str], trace: list[str] | None = None) -> None:
    if not wrong:
        return
    file = printable(lock_path)
    raise LockError(
        "\n".join([f"This is not what {file} says:", *(f"    {line}" for line in wrong)]),
        hints=["To see all that is different: registry lock --check", "If it is what you want: registry lock"],
        trace=wrong if trace is None else trace,
    )
