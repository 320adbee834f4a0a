"""Installed distributions, read from sys.path one by one.

Only the standard library is used and nothing is imported from what is found. A distribution that cannot be read is a
value with a problem: it never hides another one. (`importlib.metadata.entry_points()` raises for everybody when one
unrelated `entry_points.txt` is malformed, and costs tens of milliseconds to import.)

Formats: https://packaging.python.org/specifications/recording-installed-packages/ and …/entry-points/.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from automodels.plugins.problems import Problem

GROUP = "automodels.plugins"
METADATA_BYTES = 1 << 20  # an entry_points.txt or METADATA above a mebibyte is not read
_SEPARATORS = re.compile(r"[-_.]+")
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not make us wait
_DIRECTORY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(-(?P<version>\d[^-]*)(-.*)?)?\.(dist|egg)-info")


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """One installed distribution."""

    name: str
    version: str
    metadata: str
    """The `.dist-info` or `.egg-info` directory."""

    problems: tuple[Problem, ...] = ()

    @cached_property
    def normalized(self) -> str:
        return normalized(self.name)

    @property
    def site(self) -> str:
        """The directory on `sys.path` that holds the metadata."""
        return os.path.dirname(self.metadata)


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryPoint:
    """A line `name = value` in the group `automodels.plugins`."""

    name: str
    value: str
    distribution: Distribution


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What one walk over `sys.path` found."""

    distributions: dict[str, Distribution]
    """By normalised name; the first on the path wins, as it does for `import`."""

    shadowed: tuple[Distribution, ...]
    entry_points: tuple[EntryPoint, ...]
    unreadable: tuple[Distribution, ...]
    """Distributions that declare plugins which could not be read."""


def scan(path: Sequence[str] | None = None) -> Scan:
    """Every installed distribution on `path` (default `sys.path`) and the plugin entry points they declare."""
    found: dict[str, Distribution] = {}
    shadowed: list[Distribution] = []
    for distribution in _distributions(sys.path if path is None else path):
        first = found.setdefault(distribution.normalized, distribution)
        if first is not distribution and first.metadata != distribution.metadata:
            shadowed.append(distribution)
    entry_points: list[EntryPoint] = []
    unreadable: list[Distribution] = []
    for name, distribution in found.items():
        points, problems = _entry_points(distribution)
        if problems:
            found[name] = distribution = _with_problems(distribution, problems)
            unreadable.append(distribution)
        entry_points += (EntryPoint(name=key, value=value, distribution=distribution) for key, value in points)
    return Scan(
        distributions=found,
        shadowed=tuple(shadowed),
        entry_points=tuple(entry_points),
        unreadable=tuple(unreadable),
    )


def normalized(name: str) -> str:
    """A distribution name as PEP 503 compares it."""
    return _SEPARATORS.sub("-", name).lower()


def read_bounded(file: str, limit: int = METADATA_BYTES) -> bytes | None:
    """The bytes of a regular file; None when it is missing, unreadable, no file, or larger than `limit`."""
    try:
        descriptor = os.open(file, _READ)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        # The size is asked for, since a buffer of `limit` bytes for each of a thousand small files takes longer than
        # reading them.
        return os.read(descriptor, status.st_size)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _distributions(path: Sequence[str]) -> Iterator[Distribution]:
    seen = set()
    for entry in path:
        if not isinstance(entry, str):  # the import system passes them by as well
            continue
        try:
            directory = os.path.abspath(entry)
            if directory in seen:
                continue
            seen.add(directory)
            names = os.listdir(directory)
        except (OSError, ValueError):  # a zip file, a directory that is gone or may not be read, a null character
            continue
        copies: dict[str, list[Distribution]] = {}
        for name in sorted(names):
            if name.endswith("-info") and (match := _DIRECTORY.fullmatch(name)):
                distribution = _distribution(os.path.join(directory, name), match)
                copies.setdefault(distribution.normalized, []).append(distribution)
        for found in copies.values():
            yield from found if len(found) == 1 else sorted(found, key=_rank, reverse=True)


def _rank(distribution: Distribution) -> tuple[bool, object, str]:
    """Of two copies in one directory the complete one is taken, then the newest, in whatever order they are listed."""
    from packaging.version import InvalidVersion, Version

    try:
        version = Version(distribution.version)
    except InvalidVersion:
        version = Version("0.dev0")
    return not distribution.problems, version, distribution.metadata


def _distribution(metadata: str, match: re.Match[str]) -> Distribution:
    """Name and version from the directory's name; from the metadata file where the name lacks a version."""
    name, version = match["name"], match["version"]
    file = os.path.join(metadata, "METADATA" if metadata.endswith(".dist-info") else "PKG-INFO")
    if metadata.endswith(".egg-info") and os.path.isfile(metadata):  # as distutils installed it
        file = metadata
    if version is None:
        text = (read_bounded(file) or b"").decode("utf-8", "replace")
        found = re.search(r"^Version: *(\S+)", text, re.MULTILINE)
        version = found[1] if found else "0"
    problems: tuple[Problem, ...] = ()
    if not os.path.isfile(file):
        problems = (Problem(code="P105", message=f"{printable(file)} is missing", fatal=False),)
    return Distribution(name=name, version=printable(version), metadata=metadata, problems=problems)


def _entry_points(distribution: Distribution) -> tuple[list[tuple[str, str]], list[Problem]]:
    """The lines of our group. What other groups of the same file hold does not matter, however broken it is."""
    file = os.path.join(distribution.metadata, "entry_points.txt")
    data = read_bounded(file)
    if data is None or GROUP.encode() not in data:
        return [], []
    points: list[tuple[str, str]] = []
    problems: list[Problem] = []
    ours = False
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
        line = raw.strip()
        if line.startswith(b"[") and line.endswith(b"]"):
            ours = line[1:-1].strip() == GROUP.encode()
        elif ours and line and not line.startswith((b"#", b";")):
            name, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals and name.strip() and value.strip() and "\ufffd" not in name + value:
                points.append((name.strip(), value.strip()))
            else:
                message = f"{printable(file)}, line {number}: {shown(line)} is not 'name = package:file.toml'"
                problems.append(Problem(code="P101", message=message))
    return points, problems


def shown(value: object) -> str:
    """`value` as it may be printed to a terminal: escaped, at most 60 characters."""
    try:
        text = printable(ascii(value.decode("utf-8", "replace") if isinstance(value, bytes) else value))
    except (RecursionError, ValueError):  # nested thousands of levels deep, or a number of thousands of digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str) -> str:
    """A path or a version as it may be printed to a terminal: unchanged if it is harmless, otherwise escaped."""
    return text if text.isprintable() else ascii(text)


def _with_problems(distribution: Distribution, problems: list[Problem]) -> Distribution:
    return Distribution(
        name=distribution.name,
        version=distribution.version,
        metadata=distribution.metadata,
        problems=(*distribution.problems, *problems),
    )
