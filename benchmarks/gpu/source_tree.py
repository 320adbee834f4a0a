"""Our distributions as they lie in a source tree, found as if they were installed.

A machine that is lent for an hour has frameworks, and nothing of ours, and no network. Plugins are found by the
metadata of distributions, so that is what is made, in a directory for the time being, with links to the packages.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = "automodels"


@contextlib.contextmanager
def installed() -> Iterator[dict[str, str]]:
    """The environment in which processes find our distributions: those of the tree, unless some are installed.

    This process finds them too.
    """
    if is_installed():
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in sorted(ROOT.glob("*/pyproject.toml")) + sorted(ROOT.glob("plugins/*/pyproject.toml")):
            add(file, Path(folder))
        sys.path.insert(0, folder)
        try:
            yield {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}
        finally:
            sys.path.remove(folder)


def is_installed() -> bool:
    try:
        metadata.distribution(OURS)
    except metadata.PackageNotFoundError:
        return False
    return True


def add(file: Path, site: Path) -> None:
    """Writes a distribution's metadata, told by its pyproject.toml, and links its packages."""
    project: dict[str, Any] = tomllib.loads(file.read_text())["project"]
    name, version = project["name"], project["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [f"[{group}]\n" + _lines(points) for group, points in project.get("entry-points", {}).items()]
    (info / "entry_points.txt").write_text("\n".join(groups))
    for package in sorted((file.parent / "src").iterdir()):
        if (package / "__init__.py").exists():
            (site / package.name).symlink_to(package, target_is_directory=True)


def missing() -> list[str]:
    """What our core needs and is not installed."""
    needed = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [requirement.partition(">=")[0] for requirement in needed]
    return [name for name in names if not _is_there(name)]


def _is_there(name: str) -> bool:
    with contextlib.suppress(metadata.PackageNotFoundError):
        metadata.distribution(name)
        return True
    return False


def _lines(points: dict[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in points.items())
