"""convert: a checkpoint in another format, in other shards, under other names or in another type.

source headers → names and types of the target → tensors, one at a time → written all or none (see writer)

No model is built and no framework is imported; a key map, where names change, is a table in the plugin.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from automodels.checkpoint.companions import companions, copy_folders, with_dtype
from automodels.checkpoint.config_file import CONFIG_NAME, read_config
from automodels.checkpoint.dtypes import BY_NUMPY_NAME, is_floating
from automodels.checkpoint.file_contents import Progress
from automodels.checkpoint.formats import Naming, checked_variant
from automodels.checkpoint.keymap import KeyMap
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.renaming import Renamed, keymap_for, renamed
from automodels.checkpoint.save_arguments import check_choice
from automodels.checkpoint.shards import DEFAULT_SHARD_SIZE
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.tensors import opened
from automodels.checkpoint.writer import FormatName, SaveReport, save_tensors
from automodels.errors import InputError
from automodels.plugins.scan import printable, shown

_OURS = ("format", "automodels_")
"""What metadata begin with that the writer makes itself."""


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """What a conversion did."""

    source: Path
    target: Path
    source_format: str
    format: str
    source_naming: str
    naming: str
    saved: SaveReport
    """Files, bytes and seconds."""

    cast: tuple[str, ...]
    """Tensors whose type was changed."""

    buffers: tuple[str, ...]
    """Tensors that are no parameters and have no other name; they were left out."""

    copied: tuple[str, ...]
    """Files beside the weights."""

    left_out: tuple[str, ...]
    """Files and folders of the source that are neither weights nor of a kind that is copied, such as code."""


def convert(
    source_directory: str | os.PathLike[str],
    target_directory: str | os.PathLike[str],
    *,
    format: FormatName = "safetensors",  # noqa: A002  # as in save_tensors
    naming: Literal["hub", "flax"] | None = None,
    keymap: KeyMap | None = None,
    max_shard_size: int | str = DEFAULT_SHARD_SIZE,
    dtype: str | None = None,
    variant: str | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Writes the checkpoint in one directory into another; memory is bounded by the largest tensor.

    Args:
        source_directory: is only read.
        target_directory: is made if need be; a checkpoint there is replaced, all or none.
        format: of the target. Files in msgpack bear Flax's names.
        naming: whose names the tensors shall bear; None keeps those of the source, except that msgpack means "flax".
        keymap: the table between the two namings; None takes the one that an installed plugin declares for the model
            type in `config.json`. Needed only where names change.
        max_shard_size: of the tensors in one file: "5GB", "200MiB", or bytes.
        dtype: "float32", "float16", "bfloat16" or "float64" for floating tensors; others, float8 too, stay as they are.
        variant: of the source, "fp16" for instance; the target is of the same variant.
        progress: called with the bytes done and the bytes in all.

    Configs, tokenizers, cards, and the folders that `modules.json` names are copied; code never. Raises InputError for
    arguments that make no sense, the reader's errors for the source, CheckpointWriteError for the target.
    """
    check_choice("format", format, get_args(FormatName))
    variant = checked_variant(variant)
    kind = _checked_dtype(dtype)
    source, target = Path(source_directory), Path(target_directory)
    _refuse_same(source, target)
    checkpoint = Checkpoint.open(source, variant=variant)
    asked = _naming(naming, format, checkpoint.naming)
    if asked is checkpoint.naming:
        keymap = None
    elif keymap is None:
        keymap = keymap_for(read_config(source)["model_type"])
    names = renamed(checkpoint, keymap, asked)
    cast = {name: kind for name, tensor in names.tensors.items() if kind is not None and _is_cast(tensor, kind)}
    tensors = {name: _cast(name, tensor, cast.get(name)) for name, tensor in names.tensors.items()}
    beside = companions(source)
    files = {name: _read(path) for name, path in beside.files.items()}
    if kind is not None and cast and CONFIG_NAME in files:
        files[CONFIG_NAME] = with_dtype(beside.files[CONFIG_NAME], kind.name)
    saved = save_tensors(
        target,
        _watched(tensors, progress),
        format=format,
        naming="flax" if asked is Naming.FLAX else "hub",
        max_shard_size=max_shard_size,
        variant=variant,
        metadata=_metadata(checkpoint.metadata, names) if format == "safetensors" else None,
        files=files,
        storages={name: _storage(checkpoint, origin) for name, origin in names.origins.items()},
    )
    copy_folders(beside, target)  # only now: a save that fails changes nothing
    copied = (*files, *(f"{folder}/{name}" for folder, held in beside.folders.items() for name in held))
    return ConvertReport(
        source=source,
        target=target,
        source_format=checkpoint.format,
        format=format,
        source_naming=str(checkpoint.naming),
        naming=str(asked),
        saved=saved,
        cast=tuple(cast),
        buffers=names.left_out,
        copied=copied,
        left_out=beside.left_out,
    )


def _read(path: Path) -> bytes:
    with opened(os.fspath(path)) as stream:
        return stream.read()


def _refuse_same(source: Path, target: Path) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        raise InputError(f"Source and target are the same directory, {printable(str(source))}.")


def _checked_dtype(dtype: str | None) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    found = BY_NUMPY_NAME.get(str(dtype))
    if found is None or not is_floating(found):
        raise InputError(f"dtype is {shown(dtype)}; it can be float16, bfloat16, float32 or float64.")
    return found


def _naming(asked: str | None, format: str, source: Naming) -> Naming:  # noqa: A002  # as in save_tensors
    if asked is None:
        return Naming.FLAX if format == "msgpack" else source
    check_choice("naming", asked, ("hub", "flax"))
    if format == "msgpack" and asked == "hub":
        raise InputError("msgpack files hold Flax's trees, whose names are not the Hub's.", hints=["Leave out naming."])
    return Naming(asked)


def _is_cast(tensor: LazyTensor, kind: np.dtype[Any]) -> bool:
    return is_floating(tensor.dtype) and tensor.dtype != kind


def _cast(name: str, tensor: LazyTensor, kind: np.dtype[Any] | None) -> LazyTensor:
    if kind is None:
        return tensor
    return LazyTensor(kind, tensor.shape, functools.partial(_converted, name, tensor, kind))


def _converted(name: str, tensor: LazyTensor, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The values in another type; raises InputError when finite ones would become infinite."""
    values = tensor.read()
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(kind, order="C")
    if not np.isfinite(result).all() and np.count_nonzero(np.isfinite(result)) < np.count_nonzero(np.isfinite(values)):
        raise InputError(
            f"{shown(name)} has values that {kind.name} cannot hold: they would become infinite.",
            hints=["Take bfloat16, which has the range of float32."] if kind.name == "float16" else [],
        )
    return result


def _watched(tensors: Mapping[str, LazyTensor], progress: Progress | None) -> dict[str, LazyTensor]:
    """The same tensors; each tells when it was read."""
    if progress is None:
        return dict(tensors)
    total, done = sum(tensor.nbytes for tensor in tensors.values()), 0

    def watched(tensor: LazyTensor) -> Callable[[], np.ndarray[Any, Any]]:
        def read() -> np.ndarray[Any, Any]:
            nonlocal done
            done += tensor.nbytes
            progress(done, total)
            return tensor.read()

        return read

    return {name: LazyTensor(tensor.dtype, tensor.shape, watched(tensor)) for name, tensor in tensors.items()}


def _storage(checkpoint: Checkpoint, name: str) -> tuple[str, int]:
    """The same for tensors that are one array in the source, such as tied ones in a file of torch."""
    view = checkpoint[name]
    return view.file.path, view.start


def _metadata(metadata: Mapping[str, str], names: Renamed) -> dict[str, str]:
    """What the source's headers say of themselves; notes on tied tensors only where those keep their names."""
    changed = {origin for name, origin in names.origins.items() if name != origin}
    return {key: value for key, value in metadata.items() if not key.startswith(_OURS) and value not in changed}
