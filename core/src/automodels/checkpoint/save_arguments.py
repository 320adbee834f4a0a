"""What can be saved: names, types, files and ties that a save is asked for, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from automodels.checkpoint.dtypes import BY_NUMPY_NAME, BY_SAFETENSORS_NAME
from automodels.checkpoint.journal import is_plain_name, is_weight_file
from automodels.checkpoint.limits import DIMENSIONS, is_tensor_name
from automodels.checkpoint.sources import SourceTensor, stored_dtype
from automodels.errors import InputError, listed
from automodels.plugins.scan import shown

_TYPES = {
    "safetensors": frozenset(BY_SAFETENSORS_NAME.values()),
    "msgpack": frozenset(BY_NUMPY_NAME.values()),
}


def check_choice(argument: str, value: str, known: tuple[str, ...]) -> None:
    """Raises InputError unless the value is one of those known."""
    if value not in known:
        raise InputError(f"{argument} is {shown(value)}; it can be {' or '.join(known)}.")


def check_tensors(tensors: Mapping[str, SourceTensor], format: str) -> None:  # noqa: A002  # as in save_tensors
    """Raises InputError for names and types that the format, or our reader of it, does not have."""
    names = [shown(name) for name in tensors if not is_tensor_name(name) or name in ("", "__metadata__")]
    if names:
        raise InputError(f"{len(names)} tensors have a name that cannot be read back: {listed(names, limit=4)}.")
    types = [f"{name} ({it.dtype})" for name, it in tensors.items() if stored_dtype(it.dtype) not in _TYPES[format]]
    if types:
        raise InputError(f"{len(types)} tensors have a type that {format} does not know: {listed(types, limit=4)}.")
    axes = [f"{name} ({len(it.shape)})" for name, it in tensors.items() if len(it.shape) > DIMENSIONS]
    if axes:
        raise InputError(f"{len(axes)} tensors have more than {DIMENSIONS} axes: {listed(axes, limit=4)}.")


def check_files(files: Mapping[str, bytes]) -> None:
    """Raises InputError for files beside the weights that would leave the directory, or pass for weights."""
    wrong = [shown(name) for name in files if not is_plain_name(name) or is_weight_file(name)]
    if wrong:
        raise InputError(
            f"Files beside the weights have plain names that are not those of weight files: {listed(wrong)}."
        )


def check_ties(tied: Mapping[str, str], sources: Mapping[str, SourceTensor]) -> None:
    """Raises InputError when a tensor is tied to one that is not saved."""
    lost = [f"{shown(name)} to {shown(kept)}" for name, kept in tied.items() if kept not in sources]
    if lost:
        raise InputError(f"Tensors are tied to others that are not saved: {listed(lost, limit=4)}.")
