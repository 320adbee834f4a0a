"""Checkpoint: a lazy mapping from tensor names to views, whatever files they lie in.

Opening one reads headers and the index and verifies them against each other; no tensor data is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from automodels.checkpoint.index import check_contained, read_index
from automodels.checkpoint.safetensors import read_header
from automodels.checkpoint.tensors import TensorView
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, listed

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack", "tf_model.h5")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint(Mapping[str, TensorView]):
    """The tensors of a checkpoint, by name."""

    directory: Path
    files: tuple[str, ...]
    tensors: Mapping[str, TensorView]
    unlisted: tuple[str, ...] = ()
    """Tensors that stand in a shard and not in the index; they are not part of the checkpoint."""

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint in a directory: `model.safetensors`, or the shards that `model.safetensors.index.json` names.

        Raises CheckpointNotFoundError, CheckpointFormatError or CheckpointSecurityError, before any tensor is read.
        """
        folder = Path(directory)
        if not os.path.isdir(folder):
            raise CheckpointNotFoundError(f"There is no directory {folder}.")
        if os.path.lexists(folder / SINGLE):
            check_contained(folder, [SINGLE])
            return cls(directory=folder, files=(SINGLE,), tensors=read_header(folder / SINGLE))
        if os.path.lexists(folder / INDEX):
            check_contained(folder, [INDEX])
            return cls._open_sharded(folder)
        raise _no_weights(folder)

    @classmethod
    def _open_sharded(cls, folder: Path) -> Checkpoint:
        weight_map = read_index(folder / INDEX, ".safetensors")
        files = sorted(set(weight_map.values()))
        check_contained(folder, files)
        headers = {file: read_header(folder / file) for file in files}
        absent = [f"{name} in {file}" for name, file in weight_map.items() if name not in headers[file]]
        if absent:
            raise CheckpointFormatError(
                f"{INDEX} names {len(absent)} tensors that their shards do not hold: {listed(absent, limit=3)}."
            )
        stray = sorted(
            f"{name} in {weight_map[name]} and {file}"
            for file, header in headers.items()
            for name in header
            if weight_map.get(name, file) != file
        )
        if stray:
            raise CheckpointFormatError(f"Tensors stand in more than one shard: {listed(stray, limit=3)}.")
        unlisted = sorted({name for header in headers.values() for name in header if name not in weight_map})
        tensors = {name: headers[file][name] for name, file in weight_map.items()}
        return cls(directory=folder, files=tuple(files), tensors=tensors, unlisted=tuple(unlisted))

    def __getitem__(self, name: str) -> TensorView:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def _no_weights(folder: Path) -> CheckpointNotFoundError:
    others = [name for name in _OTHER_FORMATS if (folder / name).exists()]
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    if shards:
        return CheckpointNotFoundError(
            f"{folder} has {len(shards)} shards, but no {INDEX} that says what they hold.",
            hints=["Download the index as well."],
        )
    if others:
        return CheckpointNotFoundError(
            f"{folder} has no {SINGLE}; {', '.join(others)} is a format that this version does not read.",
            hints=["Convert it to safetensors."],
        )
    return CheckpointNotFoundError(f"{folder} has no weights: neither {SINGLE} nor {INDEX}.")
