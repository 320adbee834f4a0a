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
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.isprintable())
    variants = _variants(names)
    readable = [name for form in FORMATS for name in (form.single(), *form.indexes()) if name in names]
    if others:
        said = f"the tensors of {listed(others)} bear Flax's names, but {choice.options} asks for torch's"
        hints = ["Drop the option to load them."]
    elif variant and variants:
        said = f"no weights of the variant {variant}; there is {listed(variants, limit=4)}"
        hints = ["Pass one of them as variant=, or none for the usual files."]
    elif told := _shards_alone(names, choice, variant):
        said, hints = told, ["Download the index as well."]
    elif choice.options and readable:
        said = f"no weights as {choice.options} asks for; there is {listed(readable)}"
        hints = ["Drop the option to load what is there."]
    elif variants:
        said = f"weights in the variants {listed(variants, limit=4)} only"
        hints = [f"Pass one of them: variant={variants[0]!r}"]
    elif foreign := [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in _UNREAD)]:
        said = f"no weights that can be read; {listed(foreign, limit=3)} is of another format"
        hints = ["Convert it to safetensors with the library that wrote it."]
    else:
        form = choice.formats[0]
        said, hints = f"no weights: neither {form.single(variant)} nor {form.indexes(variant)[0]}", []
    return CheckpointNotFoundError(f"{printable(str(folder))} has {said}.", hints=hints)


def _shards_alone(names: Sequence[str], choice: Wanted, variant: str | None) -> str:
    for form in choice.formats:
        if shards := fnmatch.filter(names, f"{form.stem}*-*-of-*{form.suffix}"):
            return f"{len(shards)} shards, but no {form.indexes(variant)[0]} that says what they hold"
    return ""


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
    return sorted(found - {""})
