"""From a name to a directory. Only this module may use the network.

directory                       a checkpoint on this machine
pkg:distribution/path           data of an installed distribution, found in its record; nothing of it is imported
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automodels.errors import CheckpointNotFoundError, CheckpointSecurityError, InputError, nearest
from automodels.plugins.package_files import contained, package_directory
from automodels.plugins.scan import normalized, scan, shown

OPTIONS = ("subfolder",)
_DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a checkpoint lies."""

    name: str
    """As it was asked for."""

    directory: Path


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options of `locate`, the rest)."""
    here = {key: value for key, value in options.items() if key in OPTIONS}
    return here, {key: value for key, value in options.items() if key not in OPTIONS}


def locate(name: str | os.PathLike[str] | Location, *, subfolder: str = "") -> Location:
    """The directory of a checkpoint.

    Raises CheckpointNotFoundError when nothing is there, CheckpointSecurityError when `subfolder` or a `pkg:` path
    leaves its root, InputError when the name has an impossible form.
    """
    if isinstance(name, Location):
        return name
    text = _checked(os.fspath(name) if isinstance(name, os.PathLike) else name, "the name of a checkpoint")
    subfolder = _checked(subfolder, "a subfolder") if subfolder else ""
    root = _package_data(text) if text.startswith("pkg:") else _directory(text)
    inside = _inside(str(root), subfolder)
    if inside is None:
        raise CheckpointSecurityError(f"subfolder {shown(subfolder)} leaves the checkpoint {text}.")
    if not os.path.isdir(inside):
        raise CheckpointNotFoundError(f"{text} has no subfolder {shown(subfolder)}.")
    return Location(name=text, directory=Path(inside))


def _checked(value: object, what: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{shown(value)} cannot be {what}.")
    return value


def _inside(root: str, relative: str) -> str | None:
    """`root/relative` if it stays inside `root`, or is `root` itself; else None."""
    return root if os.path.normpath(relative) == "." else contained(root, relative)


def _directory(text: str) -> Path:
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        return path
    if os.path.isfile(path):
        raise CheckpointNotFoundError(
            f"{text} is a file; a checkpoint is a directory with config.json and weight files.",
            hints=[f"Pass the directory: {path.parent}"],
        )
    hints = ["Pass a directory, or pkg:DISTRIBUTION/PATH for data of an installed package."]
    if _HUB_NAME.fullmatch(text):
        hints.insert(
            0, "Names on the Hub cannot be downloaded by this version; download the files, then pass the folder."
        )
    raise CheckpointNotFoundError(f"There is no directory {text}.", hints=hints)


def _package_data(text: str) -> Path:
    distribution_name, _, path = text.removeprefix("pkg:").partition("/")
    installed = scan().distributions
    distribution = installed.get(normalized(distribution_name))
    if distribution is None:
        guess = nearest(normalized(distribution_name), installed)
        raise CheckpointNotFoundError(
            f"{text}: the distribution {shown(distribution_name)} is not installed"
            + (f"; did you mean {guess}?" if guess else "."),
            hints=[f"Run: pip install {distribution_name}"] if _DISTRIBUTION_NAME.fullmatch(distribution_name) else [],
        )
    package, _, inside = path.partition("/")
    root = package_directory(distribution, package) if package.isidentifier() else None
    if root is None:
        raise CheckpointNotFoundError(
            f"{text}: {distribution.name} {distribution.version} has no folder {shown(package)}."
        )
    directory = _inside(root, inside)
    if directory is None:
        raise CheckpointSecurityError(f"{text}: the path leaves the package {package}.")
    if not os.path.isdir(directory):
        raise CheckpointNotFoundError(f"{text}: {distribution.name} has no folder {shown(path)}.")
    return Path(directory)
