"""Caches on this machine: where they are, how large, and what is wrong with them. Looked at, never changed.

How a Hub cache is built: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from automodels.plugins.scan import printable
from automodels_cli.findings import Finding
from automodels_cli.progress import size

ENTRIES = 50_000  # looked at in one cache; more would take seconds
LITTLE = 1 << 30  # bytes free; a checkpoint of a small model has half of it
SHOWN = 3


@dataclass(kw_only=True)
class Cache:
    """One cache."""

    name: str
    directory: str
    exists: bool = False
    files: int = 0
    size: int = 0
    complete: bool = True
    """Whether all of it was looked at."""

    free: int | None = None
    """Bytes free on its disk."""

    writable: bool = True
    incomplete: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Links to files that are gone."""

    def described(self) -> dict[str, object]:
        """For JSON."""
        names = ("name", "directory", "exists", "files", "size", "complete", "free", "writable")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        if not self.exists:
            return f"{printable(self.directory)} (not there yet)"
        more = "" if self.complete else "more than "
        return f"{printable(self.directory)} ({more}{size(self.size)} in {self.files} files)"


def caches(environ: Mapping[str, str] = os.environ) -> list[Cache]:
    """The caches of downloaded checkpoints and of compiled programs."""
    places = {"Hub": _hub(environ), "XLA": _compiled(environ)}
    return [_examined(name, directory) for name, directory in places.items()]


def cache_findings(found: list[Cache]) -> Iterator[Finding]:
    """What is wrong with them, with what to do about it."""
    for cache in found:
        subject = f"{cache.name} cache"
        where = printable(cache.directory)
        if not cache.writable:
            yield Finding(
                problem=True,
                subject=subject,
                message=f"{where} cannot be written, so nothing new can be kept there",
                remedy=f"Make it writable, or choose another place: export {_VARIABLES[cache.name]}=DIRECTORY",
            )
        if cache.free is not None and cache.free < LITTLE:
            yield Finding(
                problem=True,
                subject=subject,
                message=f"its disk has {size(cache.free)} left",
                remedy=f"Make room, or choose another place: export {_VARIABLES[cache.name]}=DIRECTORY",
            )
        if cache.broken:
            yield Finding(
                problem=True,
                subject=subject,
                message=f"{_counted(len(cache.broken), 'link')} to files that are gone: {_some(cache.broken)}",
                remedy=f"Run: registry pull {_model(cache.broken[0])}",
            )
        if cache.incomplete:
            yield Finding(
                problem=False,
                subject=subject,
                message=f"{_counted(len(cache.incomplete), 'download')} that did not end: {_some(cache.incomplete)}",
                remedy=f"To go on with it, run: registry pull {_model(cache.incomplete[0])}",
            )


_VARIABLES = {"Hub": "HF_HUB_CACHE", "XLA": "JAX_COMPILATION_CACHE_DIR"}


def _hub(environ: Mapping[str, str]) -> str:
    """As huggingface_hub finds it, which takes long to import."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return _expanded(environ[name])
    home = environ.get("HF_HOME") or os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return os.path.join(_expanded(home), "hub")


def _compiled(environ: Mapping[str, str]) -> str:
    """As flax-runtime finds it."""
    if environ.get("JAX_COMPILATION_CACHE_DIR"):
        return _expanded(environ["JAX_COMPILATION_CACHE_DIR"])
    return os.path.join(_expanded(environ.get("XDG_CACHE_HOME") or "~/.cache"), "automodels", "xla")


def _expanded(directory: str) -> str:
    return os.path.abspath(os.path.expandvars(os.path.expanduser(directory)))


def _examined(name: str, directory: str) -> Cache:
    cache = Cache(name=name, directory=directory)
    try:
        cache.exists = os.path.isdir(directory)
        there = _nearest(directory)
        cache.writable = os.access(there, os.W_OK | os.X_OK) and os.path.isdir(there)
        cache.free = _free(there)
    except (OSError, ValueError):  # ValueError: a null character in a variable
        cache.writable = False
        return cache
    for number, entry in enumerate(_entries(directory)):
        if number >= ENTRIES:
            cache.complete = False
            break
        _count(entry, cache)
    return cache


def _nearest(directory: str) -> str:
    """The directory, or the first above it that is there."""
    path = Path(directory)
    return str(next((each for each in (path, *path.parents) if os.path.lexists(each)), path))


def _free(directory: str) -> int | None:
    if not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _entries(directory: str) -> Iterator[os.DirEntry[str]]:
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry
        except (OSError, ValueError):  # gone meanwhile, not for us, or a name that no path has
            continue


def _count(entry: os.DirEntry[str], cache: Cache) -> None:
    try:
        if entry.is_symlink():
            if not os.path.exists(entry.path):
                cache.broken.append(os.path.relpath(entry.path, cache.directory))
            return
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        cache.files += 1
        cache.size += status.st_size
        if entry.name.endswith(".incomplete"):
            cache.incomplete.append(os.path.relpath(entry.path, cache.directory))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(printable(path) for path in sorted(paths)[:SHOWN]) + more


def _model(path: str) -> str:
    """The model that a path in a Hub cache belongs to."""
    folder = path.split(os.sep, maxsplit=1)[0]
    if not folder.startswith("models--"):
        return "NAME"
    return printable(folder.removeprefix("models--").replace("--", "/"))
