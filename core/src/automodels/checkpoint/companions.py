"""The files of a checkpoint beside its weights: configs, tokenizers, cards. Code is never among them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from automodels.checkpoint.index import contained_paths
from automodels.checkpoint.journal import current_path, is_plain_name, is_weight_file, read_record
from automodels.checkpoint.staging import staging
from automodels.checkpoint.tensors import opened
from automodels.errors import AutomodelsError
from automodels.json_files import read_json_array, read_json_object

SUFFIXES = (
    ".json",
    ".jsonl",
    ".txt",
    ".model",
    ".jinja",
    ".md",
    ".spm",
    ".bpe",
    ".vocab",
    ".tiktoken",
    ".yaml",
    ".yml",
)
NAMES = ("LICENSE", "NOTICE", "USE_POLICY")
MODULES = "modules.json"
FILE_BYTES = 128 << 20  # vocabularies reach 40 MB
MODULES_BYTES = 1 << 20
BLOCK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What is copied along, and what is not."""

    files: dict[str, Path]
    """Name → where it lies; at the top of the checkpoint."""

    folders: dict[str, dict[str, Path]]
    """The same for each folder that `modules.json` names; weight files of small modules are among them."""

    left_out: tuple[str, ...]
    """Everything else at the top: code, other weights, folders."""


def companions(directory: Path) -> Companions:
    """The files beside the weights; raises CheckpointFormatError and CheckpointSecurityError for odd ones."""
    names = _names(directory)
    files = {name: path for name in names if is_data(name) and (path := _usable(directory, name))}
    folders = {}
    for folder in module_folders(files.get(MODULES)):
        below = directory / folder
        if below.is_dir() and not below.is_symlink():
            held = {name: below / name for name in _names(below) if is_data(name) or is_weight_file(name)}
            folders[folder] = {name: path for name, path in held.items() if _usable(below, name)}
    tops = {PurePosixPath(folder).parts[0] for folder in folders}
    left_out = tuple(name for name in names if name not in files and name not in tops and not is_weight_file(name))
    return Companions(files=files, folders=folders, left_out=left_out)


def copy_folders(found: Companions, target: Path) -> None:
    """Copies the folders; each is replaced all or none. Raises CheckpointWriteError."""
    for folder, files in found.folders.items():
        with staging(target / folder) as stage:
            for name, path in files.items():
                with stage.file(name) as output, opened(os.fspath(path)) as stream:
                    while block := stream.read(BLOCK):
                        output.write(block)
            stage.commit()


def _names(directory: Path) -> list[str]:
    """Visible names, as they will be once a save that was decided is completed."""
    record = read_record(directory)
    names = {name for name in os.listdir(directory) if not name.startswith(".")}
    if record is not None:
        names = (names | set(record.publish)) - set(record.remove)
    return sorted(names)


def is_data(name: str) -> bool:
    """Whether a file of this name is copied: neither weights nor code, nor an index."""
    if not is_plain_name(name) or is_weight_file(name) or name.endswith(".index.json"):
        return False
    return name.lower().endswith(SUFFIXES) or name in NAMES


def _usable(directory: Path, name: str) -> Path | None:
    """The path of a regular file that is not endless; None for anything else. Links leave only into their Hub cache."""
    path = current_path(directory, name)
    if not path.is_file() or (os.stat(path).st_size > FILE_BYTES and not is_weight_file(name)):
        return None
    return contained_paths(directory, [name])[name]


def module_folders(modules: Path | None) -> list[str]:
    """Folders that sentence-transformers' list of modules names, without those that leave the checkpoint."""
    if modules is None:
        return []
    try:
        entries = read_json_array(modules, limit=MODULES_BYTES)
    except AutomodelsError:
        return []
    paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    return [path for path in dict.fromkeys(paths) if isinstance(path, str) and path and _stays(path)]


def _stays(path: str) -> bool:
    return all(is_plain_name(part) for part in path.split("/"))


def with_dtype(config: Path, dtype: str) -> bytes:
    """A `config.json` whose entry for the type of the weights says `dtype`; raises ConfigFileError."""
    raw = read_json_object(config)
    for key in ("dtype", "torch_dtype"):
        if key in raw:
            raw[key] = dtype
    return json.dumps(raw, indent=2, ensure_ascii=False).encode() + b"\n"
