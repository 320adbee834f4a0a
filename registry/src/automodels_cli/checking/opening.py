"""A project, a wheel or an installed plugin, opened as a Candidate. What it needs is removed afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from automodels.errors import InputError, UnknownModelTypeError, nearest
from automodels.plugins.package_files import package_directory
from automodels.plugins.scan import normalized, read_bounded, scan, shown
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.projects import open_project
from automodels_cli.checking.wheels import open_wheel

RECORD_BYTES = 1 << 24


@contextmanager
def opened(subject: str) -> Iterator[Candidate]:
    """The candidate that `subject` names: a directory, a `.whl`, or the name of an installed plugin.

    Raises UnknownModelTypeError when there is no such thing, InputError when it cannot be read.
    """
    place = os.path.realpath(tempfile.mkdtemp(prefix="registry-check-"))
    try:
        if os.path.isdir(subject):
            yield open_project(subject, place)
        elif subject.endswith(".whl") or os.path.isfile(subject):
            yield open_wheel(subject, place)
        else:
            yield _installed(subject)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _installed(name: str) -> Candidate:
    if os.sep in name or "/" in name:
        raise InputError(
            f"{shown(name)} is not there.", hints=["Pass a project directory, a wheel, or a plugin's name."]
        )
    found = scan()
    points = [point for point in found.entry_points if name in (point.name, point.distribution.name)]
    owners = {point.distribution.normalized: point.distribution for point in points}
    wanted = (
        owners.get(normalized(name)) or next(iter(owners.values()), None) or found.distributions.get(normalized(name))
    )
    if wanted is None:
        guess = nearest(name, [point.name for point in found.entry_points])
        hints = [f"Did you mean {guess!r}?"] if guess else []
        raise UnknownModelTypeError(
            f"{shown(name)} is no directory, no wheel, and no installed plugin.", hints=[*hints, "Run: registry list"]
        )
    packages = {point.value.partition(":")[0].strip() for point in found.entry_points if point.distribution is wanted}
    directories = [directory for each in sorted(packages) if (directory := package_directory(wanted, each))]
    path = dict.fromkeys([wanted.site, *(os.path.dirname(directory) for directory in directories)])
    return Candidate(
        kind="installed", origin=name, distribution=wanted, path=tuple(path), contents=_recorded(wanted.metadata)
    )


def _recorded(metadata: str) -> tuple[str, ...] | None:
    """Paths in RECORD; None for one that is editable or has none."""
    data = read_bounded(os.path.join(metadata, "RECORD"), RECORD_BYTES)
    if data is None:
        return None
    import csv

    rows = csv.reader(data.decode("utf-8", "replace").splitlines())
    names = [row[0] for row in rows if row]
    if any(name.endswith(".pth") or name.startswith("__editable__") for name in names):
        return None
    return tuple(name for name in names if not name.startswith(("..", "/")))
