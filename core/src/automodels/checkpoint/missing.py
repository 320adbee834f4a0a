"""Why a directory has no weights that can be read: what is there instead, and what to do."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from automodels.checkpoint.formats import FORMATS, Wanted
from automodels.errors import CheckpointNotFoundError, listed
from automodels.plugins.scan import printable

_UNREAD = ("tf_model.h5", "model.ckpt.index", "*.gguf", "rust_model.ot", "model.onnx", "*.pth", "*.ckpt")
"""Formats that nothing here reads."""


def no_weights(folder: Path, choice: Wanted, variant: str | None, others: Sequence[str]) -> CheckpointNotFoundError:
    """The error for a directory without the weights that were asked for; `others` are files whose names do not fit."""
    where = printable(str(folder))
    names = sorted(entry.name for entry in os.scandir(folder))
    if others:
        return CheckpointNotFoundError(
            f"{where}: the tensors of {listed(others)} bear Flax's names, but {choice.options} asks for torch's.",
            hints=["Drop the option to load them."],
        )
    form = choice.formats[0]
    expected = listed([form.single(variant), form.indexes(variant)[0]])
    lacking = f"no {choice.formats[0].name} weights" if len(choice.formats) == 1 else "no weights"
    if variant and (known := _variants(names)):
        return CheckpointNotFoundError(
            f"{where} has {lacking} of the variant {variant} (such as {form.single(variant)}); "
            f"it has {listed(known, limit=4)}.",
            hints=["Pass one of them as variant=, or none for the usual files."],
        )
    for form in choice.formats:
        shards = fnmatch.filter(names, f"{form.stem}*-*-of-*{form.suffix}")
        if shards:
            return CheckpointNotFoundError(
                f"{where} has {len(shards)} shards, but no {form.indexes(variant)[0]} that says what they hold.",
                hints=["Download the index as well."],
            )
    readable = [name for form in FORMATS for name in (form.single(), *form.indexes()) if name in names]
    if choice.options and readable:
        return CheckpointNotFoundError(
            f"{where} has {lacking} as {choice.options} asks for; it has {listed(readable)}.",
            hints=["Drop the option to load what is there."],
        )
    variants = _variants(names)
    if variants:
        return CheckpointNotFoundError(
            f"{where} has weights in the variants {listed(variants, limit=4)} only.",
            hints=[f"Pass one of them: variant={variants[0]!r}"],
        )
    foreign = sorted({name for pattern in _UNREAD for name in fnmatch.filter(names, pattern)})
    if foreign:
        return CheckpointNotFoundError(
            f"{where} has {lacking} that can be read; {printable(listed(foreign, limit=3))} is of another format.",
            hints=["Convert it to safetensors with the library that wrote it."],
        )
    return CheckpointNotFoundError(f"{where} has {lacking}: neither {' nor '.join(expected.split(', '))}.")


def _variants(names: Sequence[str]) -> list[str]:
    """Variants of which there are weight files, by their names."""
    found = set()
    for form in FORMATS:
        for name in names:
            between = name.removeprefix(f"{form.stem}.").removesuffix(form.suffix)
            if form.single(between) == name:
                found.add(between)
            index = name.removeprefix(f"{form.stem}{form.suffix}.index.").removesuffix(".json")
            if form.indexes(index)[0] == name:
                found.add(index)
    return sorted(variant for variant in found if variant.isprintable())
