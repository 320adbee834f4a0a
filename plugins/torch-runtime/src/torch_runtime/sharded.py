"""load_sharded_checkpoint: a checkpoint's tensors into a module that is there already, whatever made it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from automodels.checkpoint.formats import TORCH, Naming
from automodels.checkpoint.reader import Checkpoint
from automodels.errors import CheckpointFormatError, CheckpointMismatchError, InputError, listed
from torch_runtime.parameters import persistent_buffers
from torch_runtime.tensors import as_torch


class IncompatibleKeys(NamedTuple):
    """What did not fit."""

    missing_keys: list[str]
    """Names of the module's that the checkpoint does not have."""

    unexpected_keys: list[str]
    """Names of the checkpoint's that the module does not have."""


def load_sharded_checkpoint(
    model: nn.Module, folder: str | os.PathLike[str], strict: bool = True, prefer_safe: bool = True
) -> IncompatibleKeys:
    """Copies the tensors of a folder, in one file or in shards, into the parameters and buffers of the same names.

    Types are cast. With `strict`, names must agree; `prefer_safe` takes safetensors where both they and
    `pytorch_model.bin` are there, otherwise the latter. Nothing is unpickled: see `automodels.checkpoint.torchzip`.
    Raises CheckpointError and InputError before anything is changed.
    """
    checkpoint = Checkpoint.open(folder, use_safetensors=_safe(Path(folder), prefer_safe), from_pt=True)
    if checkpoint.naming is not Naming.HUB:
        raise CheckpointFormatError(
            f"The tensors in {os.fspath(folder)} bear Flax's names; from_pretrained reads them."
        )
    own = dict(_named(model))
    taken = {name for name in own if name in checkpoint}
    filled = {id(own[name]) for name in taken}
    keys = IncompatibleKeys(
        missing_keys=[name for name, tensor in own.items() if id(tensor) not in filled],
        unexpected_keys=[name for name in checkpoint if name not in own],
    )
    wrong = [name for name in taken if tuple(own[name].shape) != checkpoint[name].shape]
    if wrong or (strict and any(keys)):
        raise _mismatch(model, keys, own, checkpoint, wrong)
    far = [name for name in taken if own[name].is_meta]
    if far:
        raise InputError(f"{listed(sorted(far), limit=3)} has no memory here.", hints=["Call model.to_empty() first."])
    with torch.no_grad():
        for name in taken:
            own[name].copy_(as_torch(checkpoint[name]))
    return keys


def _safe(folder: Path, prefer_safe: bool) -> bool | None:
    if prefer_safe:
        return None
    names = [TORCH.single(), *TORCH.indexes()]
    return False if any(os.path.lexists(folder / name) for name in names) else None


def _named(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Names as `state_dict` has them: tied parameters under each of their names."""
    found = []
    for path, part in model.named_modules(remove_duplicate=False):
        own: dict[str, Any] = {**part._parameters, **persistent_buffers(part)}
        found += [(f"{path}.{name}" if path else name, tensor) for name, tensor in own.items() if tensor is not None]
    return found


def _mismatch(
    model: nn.Module, keys: IncompatibleKeys, own: dict[str, torch.Tensor], checkpoint: Checkpoint, wrong: list[str]
) -> CheckpointMismatchError:
    lines = [f"{checkpoint.directory} does not fit {type(model).__name__}:"]
    shapes = [f"{name} {list(checkpoint[name].shape)}, here {list(own[name].shape)}" for name in sorted(wrong)]
    for what, names in (
        ("missing", keys.missing_keys),
        ("left over", keys.unexpected_keys),
        ("of another shape", shapes),
    ):
        if names:
            lines.append(f"    {what}: {listed(names, limit=3)}")
    return CheckpointMismatchError("\n".join(lines), trace=[*keys.missing_keys, *keys.unexpected_keys, *shapes])
