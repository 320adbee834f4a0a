"""Installed distributions, read from sys.path one by one.

Only the standard library is used and nothing is imported from what is found. A distribution that cannot be read is a
value with a problem: it never hides another one. (`importlib.metadata.entry_points()` raises for everybody when one
unrelated `entry_points.txt` is malformed, and costs tens of milliseconds to import.)

Formats: https://packaging.python.org/specifications/recording-installed-packages/ and …/entry-points/.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from automodels.plugins.problems import Problem

GROUP = "automodels.plugins"
METADATA_BYTES = 1 << 20  # an entry_points.txt or METADATA above a mebibyte is not read
_SEPARATORS = re.compile(r"[-_.]+")
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not make us wait
_DIRECTORY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*?)(-(?P<version>[^-]+)(-.*)?)?\.(dist|egg)-info")


@dataclass(frozen=True, kw_only=True, eq=False)
class Distribution:
    """One installed distribution."""

    name: str
    version: str
    metadata: str
    """The `.dist-info` or `.egg-info` directory."""

    problems: tuple[Problem, ...] = ()

    @property
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
    except OSError:
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
        directory = os.path.abspath(entry or os.curdir)
        if directory in seen:
            continue
        seen.add(directory)
        try:
            names = os.listdir(directory)
        except OSError:  # a zip file, a directory that is gone, or one that may not be read
            continue
        # Sorted, newest version first, so that the choice between two copies in one directory never depends on the
        # order in which the file system lists them.
        yield from sorted(
            (
                _distribution(os.path.join(directory, name), match)
                for name in names
                if name.endswith("-info") and (match := _DIRECTORY.fullmatch(name))
            ),
            key=lambda found: (found.normalized, bool(found.problems), _descending(found.version)),
        )


def _descending(version: str) -> tuple[int, ...]:
    return tuple(-int(number) for number in re.findall(r"\d{1,9}", version))


def _distribution(metadata: str, match: re.Match[str]) -> Distribution:
    """Name and version from the directory's name; from the metadata file where the name lacks a version."""
    name, version = match["name"], match["version"]
    file = os.path.join(metadata, "METADATA" if metadata.endswith(".dist-info") else "PKG-INFO")
    if version is None:
        text = (read_bounded(file) or b"").decode("utf-8", "replace")
        found = re.search(r"^Version: *(\S+)", text, re.MULTILINE)
        version = found[1] if found else "0"
    problems = () if os.path.isfile(file) else (Problem(code="P105", message=f"{file} is missing", fatal=False),)
    return Distribution(name=name, version=version, metadata=metadata, problems=problems)


def _entry_points(distribution: Distribution) -> tuple[list[tuple[str, str]], list[Problem]]:
    """The lines of our group. What other groups of the same file hold does not matter, however broken it is."""
    file = os.path.join(distribution.metadata, "entry_points.txt")
    data = read_bounded(file)
    if data is None or GROUP.encode() not in data:
        return [], []
    points: list[tuple[str, str]] = []
    problems: list[Problem] = []
    ours = False
    for number, raw in enumerate(data.splitlines(), start=1):
        line = raw.strip()
        if line.startswith(b"[") and line.endswith(b"]"):
            ours = line[1:-1].strip() == GROUP.encode()
        elif ours and line and not line.startswith((b"#", b";")):
            name, equals, value = line.decode("utf-8", "replace").partition("=")
            if equals and name.strip() and value.strip() and "\ufffd" not in name + value:
                points.append((name.strip(), value.strip()))
            else:
                message = f"{file}, line {number}: {shown(line)} is not 'name = package:file.toml'"
                problems.append(Problem(code="P101", message=message))
    return points, problems


def shown(value: object) -> str:
    """`value` as it may be printed to a terminal: escaped, at most 60 characters."""
    text = ascii(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _with_problems(distribution: Distribution, problems: list[Problem]) -> Distribution:
    return Distribution(
        name=distribution.name,
        version=distribution.version,
        metadata=distribution.metadata,
        problems=(*distribution.problems, *problems),
    )
