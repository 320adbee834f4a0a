"""Checkpoint: a lazy mapping from tensor names to views, whatever files they lie in.

Opening one reads headers and the index and verifies them against each other; no tensor data is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from automodels.checkpoint.formats import MSGPACK, SAFETENSORS, Format, Naming, Wanted, checked_variant, wanted
from automodels.checkpoint.index import contained_paths, read_index
from automodels.checkpoint.journal import current_path
from automodels.checkpoint.missing import no_weights
from automodels.checkpoint.stability import while_unchanged
from automodels.checkpoint.tensors import Contents, TensorView
from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, listed
from automodels.plugins.scan import printable

SINGLE = SAFETENSORS.single()
INDEX = SAFETENSORS.indexes()[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint(Mapping[str, TensorView]):
    """The tensors of a checkpoint, by name."""

    directory: Path
    files: tuple[str, ...]
    tensors: Mapping[str, TensorView]
    unlisted: tuple[str, ...] = ()
    """Tensors that stand in a shard and not in the index; they are not part of the checkpoint."""

    format: str = SAFETENSORS.name
    """`safetensors`, `msgpack` or `torch`."""

    naming: Naming = Naming.HUB
    """Whose names the tensors bear."""

    index: str | None = None
    """The file that says which shard holds what; None for a single file."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the headers of all files say alike, such as `format` and the version that wrote them."""

    ignored: tuple[str, ...] = ()
    """Values that are no tensors, such as counters of training steps."""

    @classmethod
    def open(
        cls,
        directory: str | os.PathLike[str],
        *,
        variant: str | None = None,
        use_safetensors: bool | None = None,
        from_pt: bool = False,
        from_flax: bool = False,
    ) -> Checkpoint:
        """The checkpoint in a directory, in the first of the formats that is there (see `formats`).

        `variant` is a part of the files' names, such as fp16. `use_safetensors` is True for safetensors only, False for
        any other format; `from_pt` asks for torch's names, `from_flax` for Flax's msgpack. A save that was decided and
        not completed counts. Raises CheckpointNotFoundError, CheckpointFormatError or CheckpointSecurityError before
        any tensor is read, InputError for options that contradict each other.
        """
        choice = wanted(use_safetensors=use_safetensors, from_pt=from_pt, from_flax=from_flax)
        variant = checked_variant(variant)
        folder = Path(directory)
        if not os.path.isdir(folder):
            raise CheckpointNotFoundError(f"There is no directory {printable(str(folder))}.")
        names = [name for form in choice.formats for name in (form.single(variant), *form.indexes(variant))]
        return while_unchanged(folder, names, lambda: cls._first(folder, choice, variant))

    @classmethod
    def _first(cls, folder: Path, choice: Wanted, variant: str | None) -> Checkpoint:
        others: list[str] = []
        for form in choice.formats:
            for name in (form.single(variant), *form.indexes(variant)):
                if not os.path.lexists(current_path(folder, name)):
                    continue
                found = cls._opened(folder, form, name)
                if choice.naming in (None, found.naming):
                    return found
                others.append(name)
        raise no_weights(folder, choice, variant, others)

    @classmethod
    def _opened(cls, folder: Path, form: Format, name: str) -> Checkpoint:
        path = contained_paths(folder, [name])[name]
        if name.endswith(".json"):
            weight_map = read_index(path, form.suffix)
            if form is MSGPACK:  # its index separates keys by slashes, as transformers wrote it
                weight_map = {name.replace("/", "."): file for name, file in weight_map.items()}
            files = tuple(sorted(set(weight_map.values())))
            held = {file: form.read(path) for file, path in contained_paths(folder, files).items()}
            unlisted = _verify(name, weight_map, held)
            tensors = {name: held[file].tensors[name] for name, file in weight_map.items()}
        else:
            weight_map, files, unlisted = {}, (name,), ()
            held = {name: form.read(path)}
            tensors = held[name].tensors
        return cls(
            directory=folder,
            files=files,
            tensors=tensors,
            unlisted=unlisted,
            format=form.name,
            naming=_naming(form, held),
            index=name if weight_map else None,
            metadata=_in_all([contents.metadata for contents in held.values()]),
            ignored=tuple(name for contents in held.values() for name in contents.ignored),
        )

    def __getitem__(self, name: str) -> TensorView:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def _verify(index: str, weight_map: Mapping[str, str], held: Mapping[str, Contents]) -> tuple[str, ...]:
    """Tensors that the index leaves out; raises CheckpointFormatError when index and shards contradict each other."""
    absent = [f"{name} in {file}" for name, file in weight_map.items() if name not in held[file].tensors]
    if absent:
        raise CheckpointFormatError(
            f"{index} names {len(absent)} tensors that their shards do not hold: {listed(absent, limit=3)}."
        )
    elsewhere = [
        (name, file) for file, contents in held.items() for name in contents.tensors if weight_map.get(name) != file
    ]
    stray = sorted(f"{name} in {weight_map[name]} and {file}" for name, file in elsewhere if name in weight_map)
    if stray:
        raise CheckpointFormatError(f"Tensors stand in more than one shard: {listed(stray, limit=3)}.")
    return tuple(sorted({name for name, _ in elsewhere}))


def _naming(form: Format, held: Mapping[str, Contents]) -> Naming:
    """Whose names the tensors bear; raises CheckpointFormatError when the shards do not agree."""
    if form is not SAFETENSORS:
        return form.naming
    flax = [file for file, contents in held.items() if contents.metadata.get("format") == "flax"]
    if flax and len(flax) < len(held):
        other = next(file for file in held if file not in flax)
        raise CheckpointFormatError(
            f"{flax[0]} says that its tensors bear Flax's names, {other} does not; they are shards of two checkpoints."
        )
    return Naming.FLAX if flax else Naming.HUB


def _in_all(tables: list[Mapping[str, str]]) -> dict[str, str]:
    first, *rest = tables
    return {key: value for key, value in first.items() if all(table.get(key) == value for table in rest)}
