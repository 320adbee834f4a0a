"""What only reading the data can tell: values that are no numbers, and checksums."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from automodels.checkpoint.defects import Defect
from automodels.checkpoint.tensors import Contents, TensorView, opened
from automodels.errors import CheckpointError

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

BLOCK = 1 << 22
"""Elements, or bytes of a file, that are looked at together."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")


def not_finite(file: str, contents: Contents, advance: Callable[[int], None]) -> Iterator[Defect]:
    """A defect for each tensor with NaN or infinite values; one tensor at a time is in memory."""
    for view in contents.tensors.values():
        try:
            nans, infinities = _count(view)
        except CheckpointError as error:  # changed meanwhile
            yield Defect.of(error, file, "format", [view.name])
            return
        advance(view.nbytes)
        if nans or infinities:
            found = " and ".join(
                f"{count} {what}" for count, what in ((nans, "NaN"), (infinities, "infinite")) if count
            )
            size = view.nbytes // view.dtype.itemsize
            message = f"{view.name} has {found} among its {size} values."
            yield Defect(file=file, kind="values", message=message, tensors=(view.name,))


def _count(view: TensorView) -> tuple[int, int]:
    """(NaN, infinities) of a tensor; a type without either has none."""
    if view.dtype.kind in "biu" or not view.nbytes:
        return 0, 0
    values = view.numpy().reshape(-1)
    nans = others = 0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        odd = block.size - int(np.count_nonzero(np.isfinite(block)))
        if odd:
            found = int(np.count_nonzero(np.isnan(block)))
            nans, others = nans + found, others + odd - found
    return nans, others


def wrong_checksum(file: str, path: Path, advance: Callable[[int], None]) -> tuple[str | None, list[Defect]]:
    """The SHA-256 of a file, and a defect when it is a link into a Hub cache and not what its name there says."""
    name = os.path.basename(os.path.realpath(path))
    in_cache = os.path.basename(os.path.dirname(os.path.realpath(path))) == "blobs" and os.path.islink(path)
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % os.stat(path).st_size, usedforsecurity=False)
    is_git = in_cache and _GIT.fullmatch(name) is not None
    try:
        with opened(os.fspath(path)) as stream:
            while block := stream.read(BLOCK):
                sha256.update(block)
                if is_git:
                    git.update(block)
                advance(len(block))
    except CheckpointError as error:
        return None, [Defect.of(error, file, "format")]
    except OSError as error:
        return None, [Defect(file=file, kind="format", message=f"It cannot be read: {error.strerror}.")]
    digest = sha256.hexdigest()
    found = git.hexdigest() if is_git else digest
    if in_cache and (is_git or _SHA256.fullmatch(name)) and found != name:
        message = f"Its content has the hash {found[:12]}…; in the cache it is named {name[:12]}…."
        hints = ("Remove it from the cache and download it again.",)
        return digest, [Defect(file=file, kind="checksum", message=message, hints=hints)]
    return digest, []
