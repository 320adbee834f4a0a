"""Editing the project file: comments and order stay, and the file is whole at every moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from automodels.atomic_write import write_atomically
from automodels.errors import InputError
from automodels.plugins.project_file import PROJECT_BYTES, PROJECT_FILE, Project, nearest_project, parse_project
from automodels.plugins.scan import printable, read_bounded

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def project_path(given: str | None) -> str:
    """`--file`, the project file in force, or a new one in the working directory.

    Raises InputError when the file in force is malformed, or the new one would take the place of a manifest.
    """
    if given is not None:
        return given
    found = nearest_project()
    return os.path.relpath(found.path) if found is not None else PROJECT_FILE


def edit(path: str, change: Callable[[TOMLDocument], bool]) -> tuple[bool, Project]:
    """Applies a change, which says whether it changed anything; returns that and what the file says afterwards.

    Raises InputError when the file is no project file or cannot be written; it is untouched then.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    before = _content(path)
    _project(before, path)
    try:
        document = tomlkit.parse(before.decode("utf-8"))
        changed = change(document)
        after = tomlkit.dumps(document).encode() if changed else before
    except (TOMLKitError, TypeError) as error:  # forms of TOML that can be read and not edited
        raise InputError(f"{printable(path)} cannot be edited: {error}; nothing was changed.") from error
    project = _project(after, path)  # what is written must be read the same way
    if len(after) > PROJECT_BYTES:
        raise InputError(f"{printable(path)} would be larger than {PROJECT_BYTES} bytes; nothing was changed.")
    if changed:
        write_atomically(path, after)
    return changed, project


def _content(path: str) -> bytes:
    """The file's bytes, none for a file that is not there."""
    if not path or not path.isprintable():
        raise InputError(f"{path!r} cannot be the name of a project file.")
    if not os.path.lexists(path):
        return b""
    data = read_bounded(path, PROJECT_BYTES)
    if data is not None:
        return data
    if os.path.isdir(path):
        raise InputError(f"{printable(path)} is a directory, not a project file.")
    raise InputError(f"{printable(path)} is no file, cannot be read, or is larger than {PROJECT_BYTES} bytes.")


def _project(data: bytes, path: str) -> Project:
    found = parse_project(data, path)
    if found is None:
        raise InputError(
            f"{printable(path)} is the manifest of a plugin (it has a key 'schema'), not a project file.",
            hints=["Run the command in another directory, or name a project file: --file F"],
        )
    return found
