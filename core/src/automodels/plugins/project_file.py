"""The project file `automodels.toml`: what a project decided about plugins, kept beside its code.

The nearest one counts, from the working directory upwards. A file with the key `schema` is a manifest and passed by.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from automodels.errors import InputError
from automodels.plugins.manifest import parse_toml
from automodels.plugins.names import check_name, checked_framework
from automodels.plugins.scan import printable, read_bounded, shown

PROJECT_FILE = "automodels.toml"
PROJECT_BYTES = 64 << 10
KEYS = ("framework", "disable", "pins")


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a project file says."""

    path: str = ""
    """As the file system has it; messages show it through `printable`."""

    framework: str | None = None
    disable: tuple[str, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()
    """(model type, plugin)."""


def nearest_project(directory: str | None = None) -> Project | None:
    """The project file that is in force in `directory` (default: the working directory), or None.

    Raises InputError when it, or a file that might be one, is malformed.
    """
    try:
        here = os.path.abspath(directory or os.getcwd())
    except OSError:  # the working directory was removed
        return None
    while True:
        file = os.path.join(here, PROJECT_FILE)
        data = read_bounded(file, PROJECT_BYTES)
        if data is not None:
            found = parse_project(data, file)
            if found is not None:
                return found
        elif os.path.isfile(file):
            raise InputError(f"{printable(file)} cannot be read, or is larger than {PROJECT_BYTES} bytes.")
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent


def parse_project(data: bytes, path: str) -> Project | None:
    """What stands in a project file; None for a manifest. Raises InputError when it is malformed."""
    file = printable(path)
    try:
        raw = parse_toml(data)
    except ValueError as error:
        raise InputError(f"{file} is not TOML: {error}.") from error
    if "schema" in raw:
        return None
    for key in raw:
        if key not in KEYS:
            raise InputError(
                f"{file} has the unknown key {shown(key)}; it may have 'framework', 'disable' and a table [pins]."
            )
    return Project(
        path=path,
        framework=checked_framework(raw.get("framework"), f"framework in {file}"),
        disable=_disabled(raw.get("disable", []), file),
        pins=_pins(raw.get("pins", {}), file),
    )


def _disabled(names: Any, file: str) -> tuple[str, ...]:
    if not isinstance(names, list):
        raise InputError(f"disable in {file} is not a list of plugins.")
    for name in names:
        check_name("plugin", name, where=f"{file}: ")
    return tuple(dict.fromkeys(names))


def _pins(pins: Any, file: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(pins, dict):
        raise InputError(f"pins in {file} is not a table of model type = plugin.")
    for model_type, plugin in pins.items():
        check_name("model type", model_type, where=f"{file}: ")
        check_name("plugin", plugin, where=f"{file}: ")
    return tuple(pins.items())
