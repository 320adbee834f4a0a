"""What lies in a checkpoint's directory and is no part of it, or is not yet what it will be."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from automodels.checkpoint.defects import Defect
from automodels.checkpoint.directory_lock import LOCK
from automodels.checkpoint.formats import FORMATS, Format
from automodels.checkpoint.impostors import HEAD, impostor
from automodels.checkpoint.journal import OURS, RECORD, current_path, read_record
from automodels.errors import CheckpointError

POINTER = "a Git LFS pointer"


def strays(folder: Path, variant: str | None, used: Collection[str]) -> Iterator[Defect]:
    """Notes on weight files that no reader opens, on saves that were interrupted, and files that are LFS pointers.

    `used` are the files that a reader opens. Weight files of other variants are somebody else's.
    """
    record = read_record(folder)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file())
    if record is not None:
        message = "A save was decided and not completed. The new checkpoint counts; the next save gives it its names."
        yield Defect(file="", kind="pending", message=message, breaks=False)
    else:
        leftovers = [name for name in names if name.startswith(OURS) and name not in (RECORD, LOCK)]
        if leftovers:
            message = f"{len(leftovers)} files are left of a save that was interrupted, or is going on now."
            yield Defect(file="", kind="pending", message=message, breaks=False, hints=("The next save removes them.",))
    for name in names:
        if name in used or current_path(folder, name) != folder / name:
            continue
        form = next((form for form in FORMATS if form.owns(name, variant)), None)
        if form is not None:
            yield _unused(folder, name, form)
        elif (pointer := _pointer(folder / name)) is not None:
            yield pointer


def _unused(folder: Path, name: str, form: Format) -> Defect:
    message = "It is not read, since another file is preferred or the index does not name it."
    try:
        if name.endswith(form.suffix):
            form.read(folder / name)
    except CheckpointError as error:
        message = f"It is not read, and is broken besides: {error.message}"
    return Defect(file=name, kind="stray", message=message, breaks=False)


def _pointer(path: Path) -> Defect | None:
    """What is only the address of a file in large file storage, such as a tokenizer that was not downloaded."""
    try:
        if os.stat(path).st_size > HEAD:
            return None
        with open(path, "rb") as stream:
            found = impostor(stream.read(HEAD))
    except OSError:
        return None
    if found is None or not found.description.startswith(POINTER):
        return None
    message = f"It is {found.description}, not the file itself."
    return Defect(file=path.name, kind="pointer", message=message, hints=tuple(found.hints))
