"""save_tensors: tensors and files into a checkpoint directory, all or none.

What a save replaces: the files that it writes, and every weight file and index of the same variant under a standard
name, in whatever format, since a reader could take it for the new one. Everything else in the directory stays.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from automodels.checkpoint.formats import FORMATS, MSGPACK, SAFETENSORS, Format, new_variant
from automodels.checkpoint.msgpack_writing import SEPARATOR, tree_of, write_msgpack
from automodels.checkpoint.provenance import file_metadata
from automodels.checkpoint.safetensors_writing import unaligned, write_safetensors
from automodels.checkpoint.save_arguments import check_choice, check_files, check_tensors, check_ties
from automodels.checkpoint.shards import DEFAULT_SHARD_SIZE, ShardPlan, plan_shards
from automodels.checkpoint.sources import Source, SourceTensor, source_of
from automodels.checkpoint.staging import LOCK_TIMEOUT, Staging, staging

FormatName = Literal["safetensors", "msgpack"]
Naming = Literal["hub", "flax"]

_WRITTEN = {form.name: form for form in (SAFETENSORS, MSGPACK)}
_FORMAT_METADATA = {"hub": "pt", "flax": "flax"}  # transformers refuses a file that says nothing, or something else


@dataclass(frozen=True, kw_only=True)
class SaveReport:
    """What a save did."""

    directory: Path
    files: tuple[str, ...]
    """In the order in which they got their names."""

    removed: tuple[str, ...]
    """Weight files and indexes of the checkpoint before."""

    tensors: int
    total_size: int
    """Bytes of tensors."""

    written: int
    """Bytes of files."""

    unaligned: tuple[str, ...]
    """Tensors that cannot be used in place: in safetensors, those not at a multiple of 64 bytes; in msgpack, all."""

    seconds: float


def save_tensors(
    directory: str | os.PathLike[str],
    tensors: Mapping[str, Source],
    *,
    format: FormatName = "safetensors",  # noqa: A002  # as the formats are called everywhere
    naming: Naming = "hub",
    max_shard_size: int | str = DEFAULT_SHARD_SIZE,
    variant: str | None = None,
    metadata: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
    tied: Mapping[str, str] | None = None,
    storages: Mapping[str, Hashable] | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
) -> SaveReport:
    """Writes a checkpoint; of the tensors, one at a time is in memory, and none is read before all are checked.

    Args:
        directory: is made if need be; a checkpoint there is replaced.
        tensors: by name, as they shall stand in the file; in msgpack, whose files are trees, dots separate the levels.
        format: msgpack is that of `flax.serialization`.
        naming: whose names the tensors bear: "hub" those of torch, "flax" those of a Flax tree; it is written down
            where the format has room for it.
        max_shard_size: of the tensors in one file; "5GB", "200MiB", or bytes. What is larger gets a file of its own.
        variant: "fp16" for `model.fp16.safetensors`. Other variants in the directory stay.
        metadata: written into the header of safetensors files, beside `format` and our version.
        files: contents by name, such as `config.json`, which become current together with the weights.
        tied: tensor → the tensor that is the same array: it is not written, only noted in the header, as safetensors'
            `save_model` does.
        storages: tensor → anything that is equal for tensors that share memory; those go into one shard.
        lock_timeout: seconds to wait for another save into the same directory.

    Raises InputError for arguments that make no sense, CheckpointWriteError when the system refuses; then the old
    checkpoint is untouched, as it is when the process is killed.
    """
    began = time.monotonic()
    check_choice("format", format, get_args(FormatName))
    check_choice("naming", naming, get_args(Naming))
    variant = new_variant(variant)
    extra = dict(files or {})
    check_files(extra)
    aliases = dict(tied or {})
    sources = {name: source_of(tensor) for name, tensor in tensors.items() if name not in aliases}
    check_ties(aliases, sources)
    check_tensors(sources, format)
    shared = storages or {}
    plan = plan_shards([(name, source.nbytes, shared.get(name)) for name, source in sources.items()], max_shard_size)
    weights = _Weights(_WRITTEN[format], variant, plan, sources, {**_header(naming), **(metadata or {}), **aliases})
    with staging(directory, lock_timeout=lock_timeout) as stage:
        stage.require(plan.total_size)
        written = sum(map(len, extra.values()))
        for name, data in extra.items():
            with stage.file(name) as output:
                output.write(data)
        written += weights.write(stage)
        removed = stale_files(stage.directory, variant, keep=stage.names)
        stage.commit(remove=removed)
    return SaveReport(
        directory=Path(directory),
        files=stage.names,
        removed=removed,
        tensors=len(sources),
        total_size=plan.total_size,
        written=written,
        unaligned=weights.unaligned(),
        seconds=time.monotonic() - began,
    )


def stale_files(directory: Path, variant: str | None, *, keep: tuple[str, ...]) -> tuple[str, ...]:
    """Weight files and indexes of a variant, in any format, that are not to be kept."""
    return tuple(
        sorted(
            entry.name
            for entry in os.scandir(directory)
            if any(form.owns(entry.name, variant) for form in FORMATS)
            and entry.name not in keep
            and not entry.is_dir(follow_symlinks=False)
        )
    )


@dataclass(frozen=True)
class _Weights:
    """The weight files of one save."""

    form: Format
    variant: str | None
    plan: ShardPlan
    sources: Mapping[str, SourceTensor]
    metadata: Mapping[str, str]

    def write(self, stage: Staging) -> int:
        """Writes shards, then the index if there are several; returns the bytes."""
        count = len(self.plan.shards)
        weight_map: dict[str, str] = {}
        written = 0
        for number, shard in enumerate(self.plan.shards, 1):
            file = self.form.shard(number, count, self.variant)
            weight_map |= dict.fromkeys(shard, file)
            held = {name: self.sources[name] for name in shard}
            with stage.file(file) as output:
                if self.form is MSGPACK:
                    write_msgpack(output, tree_of(held))
                else:
                    write_safetensors(output, held, self.metadata)
            written += output.written
        if count == 1:
            return written
        if self.form is MSGPACK:  # as transformers writes this index
            weight_map = {name.replace(SEPARATOR, "/"): file for name, file in weight_map.items()}
        index = {"metadata": {"total_size": self.plan.total_size}, "weight_map": weight_map}
        with stage.file(self.form.indexes(self.variant)[0]) as output:
            output.write(json.dumps(index, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return written + output.written

    def unaligned(self) -> tuple[str, ...]:
        if self.form is MSGPACK:
            return tuple(self.sources)
        shards = ({name: self.sources[name] for name in shard} for shard in self.plan.shards)
        return tuple(name for shard in shards for name in unaligned(shard))


def _header(naming: Naming) -> dict[str, str]:
    return {"format": _FORMAT_METADATA[naming], **file_metadata()}
