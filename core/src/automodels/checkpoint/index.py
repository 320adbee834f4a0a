"""Which file holds which tensor: the JSON index beside the shards of a checkpoint."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from automodels.checkpoint.journal import current_path
from automodels.checkpoint.limits import is_tensor_name
from automodels.errors import CheckpointFormatError, CheckpointSecurityError, listed
from automodels.json_files import read_json_object
from automodels.plugins.scan import shown

INDEX_BYTES = 64 << 20


def read_index(path: Path, suffix: str) -> dict[str, str]:
    """Tensor name → file name. Nothing is opened but the index itself.

    Raises CheckpointFormatError when it is malformed and CheckpointSecurityError when a file name is anything but the
    name of a plain file in the same directory.
    """
    raw = read_json_object(path, limit=INDEX_BYTES, error=CheckpointFormatError)
    weight_map = raw.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointFormatError(f"{path.name} has no weight_map, or an empty one.")
    known: set[str] = set()
    for tensor, file in weight_map.items():
        if not is_tensor_name(tensor):
            raise CheckpointFormatError(f"{path.name}: {shown(tensor)} cannot be the name of a tensor.")
        if not isinstance(file, str):
            raise CheckpointFormatError(f"{path.name}: the file of {shown(tensor)} is {shown(file)}, not a name.")
        if file in known:
            continue
        if not _is_plain_name(file):
            raise CheckpointSecurityError(
                f"{path.name}: the file of {shown(tensor)} is {shown(file)}, which leaves the checkpoint."
            )
        if not file.endswith(suffix):
            raise CheckpointFormatError(f"{path.name}: the file of {shown(tensor)} is {shown(file)}, not a {suffix}.")
        known.add(file)
    return weight_map


def contained_paths(directory: Path, names: Sequence[str]) -> dict[str, Path]:
    """File name → path of what it means now, which after an interrupted save may be a temporary file.

    Every file is there, regular, and inside the directory; a link may lead elsewhere only inside one Hub cache. Nothing
    is opened. Raises CheckpointFormatError naming all that are missing or no regular files, CheckpointSecurityError
    naming one that leads outside.
    """
    paths = {name: current_path(directory, name) for name in names}
    modes = {name: _mode(path) for name, path in paths.items()}
    missing = [name for name, mode in modes.items() if mode is None]
    if missing:
        present = len(names) - len(missing)
        raise CheckpointFormatError(
            f"{directory} lacks {len(missing)} of {len(names)} weight files ({present} are there): "
            f"{listed(missing, limit=4)}.",
            hints=["Download the missing files."],
        )
    irregular = [name for name, mode in modes.items() if mode is not None and not stat.S_ISREG(mode)]
    if irregular:
        raise CheckpointFormatError(f"{directory}: not a regular file: {listed(irregular, limit=4)}.")
    root = os.path.realpath(directory)
    roots = [root, *_blobs(root)]
    for name in names:
        target = os.path.realpath(paths[name])
        if os.path.dirname(target) not in roots and os.path.dirname(os.path.dirname(target)) not in roots[2:]:
            raise CheckpointSecurityError(
                f"{name} is a link to {target}, outside the checkpoint.",
                hints=["Copy the file into the checkpoint if you trust it."],
            )
    return paths


def _mode(path: Path) -> int | None:
    """What kind of file a path leads to, links followed; None when there is nothing, or no way to it."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def _blobs(root: str) -> list[str]:
    """The folders that snapshots of a Hub cache link into.

    They are `models--x--y/blobs`, and for what several models share, one of the folders in `blobs` beside it: the
    latter is where huggingface_hub puts files since version 2.
    """
    parts = Path(root).parts
    for place in range(len(parts) - 1, 0, -1):
        if parts[place] == "snapshots" and parts[place - 1].startswith(("models--", "datasets--", "spaces--")):
            return [os.path.realpath(Path(*parts[:end]) / "blobs") for end in (place, place - 1)]
    return []


def _is_plain_name(name: str) -> bool:
    return (
        name.isprintable()
        and 0 < len(name) <= 255
        and not name.startswith(".")
        and not any(character in name for character in '/\\:*?"<>|')
    )
