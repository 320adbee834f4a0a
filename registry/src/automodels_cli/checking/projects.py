"""A project directory as a Candidate: `pyproject.toml` gives the metadata, the package lies below `src` or at the top.

Nothing is built: what a build backend computes — dynamic versions, files left out — only the check of a wheel sees.
"""

from __future__ import annotations

import os
import re
from typing import Any

from automodels.errors import InputError
from automodels.plugins.manifest import parse_toml
from automodels.plugins.scan import GROUP, Distribution, printable, read_bounded, scan, shown
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.codes import note
from automodels_cli.findings import Finding

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)


def open_project(directory: str, place: str) -> Candidate:
    """The candidate of a project, or of an unpacked wheel; `place` is an empty directory for what is written down.

    Raises InputError when it is neither.
    """
    data = read_bounded(os.path.join(directory, "pyproject.toml"))
    if data is None:
        return _unpacked(directory)
    try:
        raw = parse_toml(data)
    except ValueError as error:
        raise InputError(f"{directory}/pyproject.toml is not TOML: {error}.") from error
    project = raw.get("project")
    if not isinstance(project, dict):
        raise InputError(f"{directory}/pyproject.toml has no table [project].", hints=["Run: registry new --help"])
    name = project.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InputError(f"name in {directory}/pyproject.toml is {shown(name)}, not a name of a distribution.")
    early: list[Finding] = []
    points = _entry_points(project)
    roots = [os.path.join(directory, "src"), directory]
    packages = [value.partition(":")[0].strip() for _, value in points]
    path = [root for root in roots if any(each and os.path.isdir(os.path.join(root, each)) for each in packages)]
    path = [os.path.realpath(root) for root in (path or roots[:1])][:1]
    version = project.get("version")
    if not isinstance(version, str) or re.fullmatch(r"\d[A-Za-z0-9.+!]{0,60}", version) is None:
        if "version" not in project.get("dynamic", []):
            early.append(note("C102", "version", f"version is {shown(version)}; a build may refuse it"))
        version = "0"
    metadata = os.path.join(place, f"{name.replace('-', '_')}-{version}.dist-info")
    os.mkdir(metadata)
    _write(os.path.join(metadata, "METADATA"), _metadata(project, name, version))
    _write(os.path.join(metadata, "entry_points.txt"), _lines(points))
    _write(os.path.join(metadata, "RECORD"), "checked.pth,,\n")
    _write(os.path.join(place, "checked.pth"), "\n".join(path) + "\n")
    distribution = Distribution(name=name, version=version, metadata=metadata)
    return Candidate(
        kind="project",
        origin=directory,
        distribution=distribution,
        path=(place, *path),
        early=tuple(early),
        pyproject=raw,
    )


def _unpacked(directory: str) -> Candidate:
    found = scan([os.path.abspath(directory)])
    if len(found.distributions) != 1:
        raise InputError(
            f"{directory} has no pyproject.toml, and {len(found.distributions)} distributions are unpacked in it.",
            hints=["Pass the directory of a project, a wheel, or the name of an installed plugin."],
        )
    (distribution,) = found.distributions.values()
    return Candidate(kind="unpacked", origin=directory, distribution=distribution, path=(distribution.site,))


def _entry_points(project: dict[str, Any]) -> list[tuple[str, str]]:
    groups = project.get("entry-points")
    ours = groups.get(GROUP) if isinstance(groups, dict) else None
    if not isinstance(ours, dict):
        return []
    return [(_line(name), _line(value)) for name, value in list(ours.items())[:64] if isinstance(value, str)]


def _lines(points: list[tuple[str, str]]) -> str:
    return "\n".join([f"[{GROUP}]", *(f"{name} = {value}" for name, value in points), ""]) if points else ""


def _metadata(project: dict[str, Any], name: str, version: str) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    for key, header in (("description", "Summary"), ("requires-python", "Requires-Python")):
        if isinstance(project.get(key), str) or key in project.get("dynamic", []):
            lines.append(f"{header}: {_line(project.get(key, 'said by the build'))}")
    lines += [f"Author: {_line(name)}" for name in _authors(project)]
    if isinstance(project.get("license"), str | dict):
        lines.append("License-Expression: said")
    needed = project.get("dependencies", [])
    lines += (
        [f"Requires-Dist: {_line(each)}" for each in needed if isinstance(each, str)]
        if isinstance(needed, list)
        else []
    )
    return "\n".join([*lines, "", ""])


def _authors(project: dict[str, Any]) -> list[str]:
    """Names of authors without an address; a build puts those who have one into another header."""
    authors = project.get("authors")
    tables = [each for each in authors[:64] if isinstance(each, dict)] if isinstance(authors, list) else []
    return [each["name"] for each in tables if isinstance(each.get("name"), str) and "email" not in each]


def _line(text: str) -> str:
    """On one line, and short."""
    return " ".join(text.split())[:500] if text.isprintable() else printable(text)[:500]


def _write(file: str, text: str) -> None:
    with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write(text)
