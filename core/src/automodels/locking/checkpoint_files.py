"""Files of a checkpoint: found by walking its directory, so that no name in a lock file ever says what is opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from automodels.checkpoint.index import contained_paths
from automodels.checkpoint.tensors import opened
from automodels.errors import CheckpointFormatError, InputError
from automodels.locking.contents import LockedFile
from automodels.locking.lock_file import FILES, LOCK_FILE, is_file_name
from automodels.plugins.scan import printable, shown

BLOCK = 1 << 20
DEPTH = 8

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


def files_of(directory: Path) -> dict[str, Path]:
    """Name with slashes → path of every visible file but a lock file, those of folders included.

    Links to folders are not followed; a link to a file may lead elsewhere only inside one Hub cache. Raises
    CheckpointSecurityError for another one, CheckpointFormatError for what is no regular file, InputError when there
    are too many, or a name has an impossible form.
    """
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(directory, onerror=_refuse):
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


def _refuse(error: OSError) -> NoReturn:
    raise CheckpointFormatError(f"{printable(str(error.filename))} cannot be read: {error.strerror}.") from error


def locked_files(paths: Mapping[str, Path], progress: Progress | None = None) -> dict[str, LockedFile]:
    """Size and SHA-256 of files; every byte is read. Raises CheckpointError when one cannot be read."""
    digests = _digests(paths, sum(_size(path) for path in paths.values()), progress)
    return {name: LockedFile(size=size, sha256=digest) for name, (size, digest) in digests.items()}


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        _refuse(error)


def _digests(paths: Mapping[str, Path], total: int, progress: Progress | None) -> dict[str, tuple[int, str]]:
    """Name → bytes that were read, and their SHA-256."""
    found, done = {}, 0
    for name, path in paths.items():
        digest, size = hashlib.sha256(), 0
        with opened(os.fspath(path)) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
                if progress is not None:
                    progress(done + size, total)
        done += size
        found[name] = size, digest.hexdigest()
    return found


def changes(
    locked: Mapping[str, LockedFile], paths: Mapping[str, Path], *, complete: bool, progress: Progress | None = None
) -> dict[str, str]:
    """File → how it is not what was locked; with `complete`, files that were not locked are changes too.

    A file of another size is not read. Raises CheckpointError when one cannot be read.
    """
    found = {name: "is missing" for name in locked if name not in paths}
    found |= {name: "is new" for name in paths if complete and name not in locked}
    sizes = {name: _size(path) for name, path in paths.items() if name in locked}
    wrong = {name: size for name, size in sizes.items() if size != locked[name].size}
    found |= {name: f"has {size} bytes; {locked[name].size} are locked" for name, size in wrong.items()}
    rest = {name: paths[name] for name in sizes if name not in wrong}
    for name, (_, digest) in _digests(rest, sum(sizes[name] for name in rest), progress).items():
        if digest != locked[name].sha256:
            found[name] = "has other bytes than those that are locked (sha256)"
    return dict(sorted(found.items()))
