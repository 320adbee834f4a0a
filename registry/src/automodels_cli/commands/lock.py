"""`registry lock [NAME…]`: writes down what is decided here, and says what is not as it was written down."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from automodels.atomic_write import write_atomically
from automodels.checkpoint.locate import Location, locate
from automodels.errors import InputError, nearest
from automodels.locking.checkpoints import locked_checkpoint, locked_name, place
from automodels.locking.contents import Lock, LockedCheckpoint
from automodels.locking.drift import Drift, catalog_drift, checkpoint_drift
from automodels.locking.lock_file import LOCK_FILE, lock_text, read_lock
from automodels.locking.making import make_lock
from automodels.plugins.catalog import Catalog
from automodels.plugins.settings import current_settings
from automodels_cli.exit_codes import ATTENTION, FINE
from automodels_cli.installed import installed
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.progress import progress, size


def run(arguments: Namespace, output: Output) -> int:
    """Writes the lock file, or compares with it; with differences found, the exit code is 1."""
    log_to(output)
    if arguments.check and arguments.remove:
        raise InputError("--check writes nothing, so there is nothing to --remove.")
    path = lock_path(arguments.file)
    catalog = installed(output)
    if arguments.check:
        return _check(path, arguments.name, catalog, output)
    return _write(path, arguments, catalog, output)


def lock_path(given: str | None) -> str:
    """`--file`, the lock in force, the nearest one from the working directory upwards, or a new one here."""
    if given is not None:
        return given
    if (in_force := current_settings().lock) is not None:
        return in_force
    here = Path.cwd()
    found = (folder / LOCK_FILE for folder in (here, *here.parents) if (folder / LOCK_FILE).is_file())
    return os.path.relpath(next(found, here / LOCK_FILE))


# Writing


def _write(path: str, arguments: Namespace, catalog: Catalog, output: Output) -> int:
    before = read_lock(path) if os.path.lexists(path) else None
    kept = dict(before.checkpoints) if before else {}
    for name in arguments.remove:
        del kept[_key_of(name, path, kept)]
    locations = {name: _located(name, locked, path) for name, locked in kept.items()}
    for name in arguments.name:
        location = locate(name)
        locations[locked_name(location, path)] = location
    lock = make_lock(catalog, _locked(locations, catalog, output))
    text = lock_text(lock).encode()
    changed = before is None or Path(path).read_bytes() != text
    if changed:
        write_atomically(path, text)
    drift = _difference(before, lock, catalog) if before else []
    if output.as_json:
        output.document("lock", _described(path, lock, drift, [], written=changed))
    else:
        _print_written(path, lock, drift, output, verb="written" if changed else "unchanged")
    return FINE


def _located(name: str, locked: LockedCheckpoint, path: str) -> Location:
    try:
        return locate(place(name, locked.source, path))
    except FileNotFoundError as missing:
        raise InputError(
            f"{name}, which is locked, is not there: {getattr(missing, 'message', missing)}",
            hints=[f"To lock it no longer: registry lock --remove {name}"],
        ) from missing


def _locked(locations: dict[str, Location], catalog: Catalog, output: Output) -> dict[str, LockedCheckpoint]:
    found = {}
    with progress("locking", output) as bar:
        for name, location in locations.items():
            found[name] = locked_checkpoint(catalog, location, bar)
    return found


def _difference(before: Lock, lock: Lock, catalog: Catalog) -> list[Drift]:
    """What the new lock changes about the decisions and plugins of the old one, and checkpoints that were changed."""
    found = catalog_drift(before, catalog)
    for name in sorted({*before.checkpoints, *lock.checkpoints}):
        old, new = before.checkpoints.get(name), lock.checkpoints.get(name)
        if old == new:
            continue
        how = "is locked now" if old is None else "is locked no longer" if new is None else "has changed"
        found.append(Drift(kind="checkpoint", subject=name, message=how))
    return found


def _key_of(name: str, path: str, known: dict[str, LockedCheckpoint]) -> str:
    """What a checkpoint is called in the lock, which need not be there any more."""
    local = Location(name=name, directory=Path(name).expanduser().absolute())
    for key in (name, locked_name(local, path)):
        if key in known:
            return key
    guess = nearest(name, known)
    raise InputError(
        f"{name!r} is not in {path}." + (f" Did you mean {guess!r}?" if guess else ""),
        hints=[f"There: {', '.join(sorted(known)) or 'no checkpoint'}"],
    )


def _print_written(path: str, lock: Lock, drift: list[Drift], output: Output, *, verb: str) -> None:
    output.line(f"{path}: {verb}, {_summary(lock)}")
    for difference in drift:
        output.line(f"  {difference}")


# Comparing


def _check(path: str, names: list[str], catalog: Catalog, output: Output) -> int:
    lock = read_lock(path)
    drift = catalog_drift(lock, catalog)
    wanted, unknown = _wanted(names, path, lock)
    drift += unknown
    with progress("comparing", output) as bar:
        for name in wanted:
            locked = lock.checkpoints[name]

            def find(name: str = name, locked: LockedCheckpoint = locked) -> Location:
                return locate(place(name, locked.source, path))

            drift += checkpoint_drift(name, locked, catalog, find, bar)
    new = sorted(plugin.name for plugin in catalog.plugins if plugin.state == "ok" and plugin.name not in lock.plugins)
    if output.as_json:
        output.document("lock", _described(path, lock, drift, new, written=False))
    else:
        _print_checked(path, lock, drift, new, output)
    return ATTENTION if drift else FINE


def _wanted(names: list[str], path: str, lock: Lock) -> tuple[list[str], list[Drift]]:
    """The locked checkpoints that were named, or all of them; and those that are not locked."""
    if not names:
        return list(lock.checkpoints), []
    wanted, unknown = [], []
    for name in names:
        try:
            wanted.append(_key_of(name, path, dict(lock.checkpoints)))
        except InputError:
            unknown.append(Drift(kind="checkpoint", subject=name, message="is not in the lock file"))
    return list(dict.fromkeys(wanted)), unknown


def _print_checked(path: str, lock: Lock, drift: list[Drift], new: list[str], output: Output) -> None:
    for difference in drift:
        output.line(str(difference))
    if new:
        alone = "" if drift else ", which changes nothing that is locked"
        output.note(f"Not in {path}: {', '.join(new)}{alone}. To add: registry lock")
    if drift:
        counted = f"{len(drift)} difference{'' if len(drift) == 1 else 's'}"
        output.note(f"{counted} from {path}. If this is what you want: registry lock")
    else:
        output.line(f"{path}: everything is as it was locked, {_summary(lock)}")


# Both


def _summary(lock: Lock) -> str:
    decisions = sum(len(tasks) for tasks in lock.decisions.values())
    files = [file for checkpoint in lock.checkpoints.values() for file in checkpoint.files.values()]
    parts = [_counted(len(lock.plugins), "plugin"), _counted(decisions, "decision")]
    if lock.checkpoints:
        total = size(sum(file.size for file in files))
        parts.append(f"{_counted(len(lock.checkpoints), 'checkpoint')} of {_counted(len(files), 'file')}, {total}")
    return ", ".join(parts)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _described(path: str, lock: Lock, drift: list[Drift], new: list[str], *, written: bool) -> dict[str, object]:
    return {
        "file": path,
        "written": written,
        "ok": not drift,
        "plugins": len(lock.plugins),
        "decisions": sum(len(tasks) for tasks in lock.decisions.values()),
        "checkpoints": sorted(lock.checkpoints),
        "drift": [{"kind": each.kind, "subject": each.subject, "message": each.message} for each in drift],
        "new_plugins": new,
    }
