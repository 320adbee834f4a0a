"""Files of a checkpoint: found by walking its directory, so that no name in a lock file ever says what is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from automodels.checkpoint.index import contained_paths
from automodels.checkpoint.tensors import opened
from automodels.errors import CheckpointFormatError, InputError
from automodels.locking.contents import LockedFile
from automodels.locking.lock_file import FILES, LOCK_FILE, is_file_name
from automodels.plugins.scan import printable, shown

BLOCK = 1 << 20
DEPTH = 8

Advance = Callable[[int], None]
"""Called with the number of bytes that were read."""


def files_of(directory: Path) -> dict[str, Path]:
    """Name with slashes → path of every visible file but a lock file, those of folders included.

    Links to folders are not followed; a link to a file may lead elsewhere only inside one Hub cache. Raises
    CheckpointSecurityError for another one, CheckpointFormatError for what is no regular file, InputError when there
    are too many, or a name has an impossible form.
    """
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(directory):
        inside = Path(folder).relative_to(directory).as_posix()
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        names = sorted(name for name in names if not name.startswith(".") and name != LOCK_FILE)
        if inside.count("/") >= DEPTH or len(found) + len(names) > FILES:
            raise InputError(
                f"{printable(str(directory))} has more than {FILES} files, or folders more than {DEPTH} deep; that is "
                "no checkpoint."
            )
        for name, path in contained_paths(Path(folder), names).items():
            key = name if inside == "." else f"{inside}/{name}"
            if not is_file_name(key):
                raise InputError(f"{shown(key)} in {printable(str(directory))} cannot be the name of a locked file.")
            found[key] = path
    return found


def locked_files(paths: Mapping[str, Path], advance: Advance | None = None) -> dict[str, LockedFile]:
    """Size and SHA-256 of files; every byte is read. Raises CheckpointFormatError when one cannot be read."""
    return {name: locked_file(path, advance) for name, path in paths.items()}


def locked_file(path: Path, advance: Advance | None = None) -> LockedFile:
    """Size and SHA-256 of one file."""
    digest, size = hashlib.sha256(), 0
    try:
        with opened(os.fspath(path)) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
                if advance is not None:
                    advance(len(block))
    except OSError as error:
        raise CheckpointFormatError(f"{printable(str(path))} cannot be read: {error.strerror}.") from error
    return LockedFile(size=size, sha256=digest.hexdigest())


def changes(
    locked: Mapping[str, LockedFile], paths: Mapping[str, Path], *, complete: bool, advance: Advance | None = None
) -> dict[str, str]:
    """File → how it is not what was locked; with `complete`, files that were not locked are changes too.

    A file of another size is not read.
    """
    found = {name: "is missing" for name in locked if name not in paths}
    found |= {name: "is new" for name in paths if complete and name not in locked}
    for name, expected in locked.items():
        if name not in paths:
            continue
        size = os.stat(paths[name]).st_size
        if size != expected.size:
            found[name] = f"has {size} bytes; {expected.size} are locked"
        elif locked_file(paths[name], advance).sha256 != expected.sha256:
            found[name] = "has other bytes than those that are locked (sha256)"
    return dict(sorted(found.items()))
