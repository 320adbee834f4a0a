"""The formats of weight files: how their files are called, and which one is taken when several are there.

Names are those of huggingface_hub and transformers, so that their loaders find what we save.

Order of preference: safetensors, then Flax's msgpack, then torch's zip; in each, one file before shards with an index.
safetensors comes first because its header alone says everything; msgpack second because it is walked, but nothing in
it can name code; a torch file can, and is read by a machine that refuses to (see `pickled`).

variant            none                              fp16
single             model.safetensors                 model.fp16.safetensors
shard              model-00001-of-00003.safetensors  model.fp16-00001-of-00003.safetensors
index              model.safetensors.index.json      model.safetensors.index.fp16.json, as transformers writes it;
                                                     model.fp16.safetensors.index.json; or
                                                     model.safetensors.fp16.index.json
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from automodels.checkpoint.msgpack import read_msgpack
from automodels.checkpoint.safetensors import read_safetensors
from automodels.checkpoint.tensors import Contents
from automodels.checkpoint.torchzip import read_torch
from automodels.errors import InputError
from automodels.plugins.scan import shown

_VARIANT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_NEW_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*", re.ASCII)  # a hyphen would look like the number of a shard
VARIANT_LENGTH = 64


class Naming(enum.StrEnum):
    """Whose names the tensors bear."""

    HUB = "hub"
    """torch's, as published; a key map leads from them to parameters."""

    FLAX = "flax"
    """Those of the Flax tree: parameter paths, joined by dots."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of weight files."""

    name: str
    stem: str
    suffix: str
    read: Callable[[Path], Contents]
    naming: Naming

    def single(self, variant: str | None = None) -> str:
        """The name of the file when there is only one."""
        return f"{self.stem}.{variant}{self.suffix}" if variant else f"{self.stem}{self.suffix}"

    def indexes(self, variant: str | None = None) -> tuple[str, ...]:
        """Names that the index of the shards may have; the first one is written."""
        whole = f"{self.stem}{self.suffix}"
        if not variant:
            return (f"{whole}.index.json",)
        return (
            f"{whole}.index.{variant}.json",
            f"{self.single(variant)}.index.json",
            f"{whole}.{variant}.index.json",
        )

    def shard(self, number: int, count: int, variant: str | None = None) -> str:
        """The name of one of several files, the first of which has number 1; a single file has no number."""
        stem = self.single(variant).removesuffix(self.suffix)
        return f"{stem}-{number:05d}-of-{count:05d}{self.suffix}" if count > 1 else self.single(variant)

    def owns(self, name: str, variant: str | None = None) -> bool:
        """Whether a file of this name is a weight file or an index of this format and variant."""
        stem, suffix = (re.escape(part) for part in (self.single(variant).removesuffix(self.suffix), self.suffix))
        is_weights = re.fullmatch(rf"{stem}(-\d{{5,}}-of-\d{{5,}})?{suffix}", name, re.ASCII) is not None
        return is_weights or name in self.indexes(variant)


SAFETENSORS = Format(name="safetensors", stem="model", suffix=".safetensors", read=read_safetensors, naming=Naming.HUB)
MSGPACK = Format(name="msgpack", stem="flax_model", suffix=".msgpack", read=read_msgpack, naming=Naming.FLAX)
TORCH = Format(name="torch", stem="pytorch_model", suffix=".bin", read=read_torch, naming=Naming.HUB)
FORMATS = (SAFETENSORS, MSGPACK, TORCH)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which formats may be read, in order, and whose names they must bear."""

    formats: tuple[Format, ...]
    naming: Naming | None
    options: str
    """The options that asked for it, as they were written; empty if there were none."""


def wanted(*, use_safetensors: bool | None = None, from_pt: bool = False, from_flax: bool = False) -> Wanted:
    """What the options of `from_pretrained` ask for; raises InputError when they contradict each other.

    `from_pt` asks for tensors with torch's names (safetensors, then torch's zip), `from_flax` for Flax's msgpack;
    `use_safetensors` is True for nothing else, False for anything else.
    """
    given = {"use_safetensors": use_safetensors, "from_pt": from_pt, "from_flax": from_flax}
    for name, value in given.items():
        if not isinstance(value, bool) and not (name == "use_safetensors" and value is None):
            raise InputError(f"{name} is {shown(value)}; it can be True or False.")
    asked = [name for name, value in given.items() if value or (name == "use_safetensors" and value is False)]
    if from_pt and from_flax:
        raise InputError("from_pt and from_flax cannot both be True: weights bear the names of one framework.")
    if from_flax and use_safetensors:
        raise InputError(
            "from_flax=True asks for Flax's msgpack, use_safetensors=True for safetensors only.",
            hints=["Drop from_flax: safetensors that Flax saved are recognised by their metadata."],
        )
    formats = [form for form in FORMATS if use_safetensors is None or use_safetensors is (form is SAFETENSORS)]
    if from_pt:
        formats = [form for form in formats if form is not MSGPACK]
    if from_flax:
        formats = [MSGPACK]
    return Wanted(
        formats=tuple(formats),
        naming=Naming.HUB if from_pt else None,
        options=", ".join(f"{name}={given[name]}" for name in asked),
    )


def checked_variant(variant: object) -> str | None:
    """The variant, None for an empty one; raises InputError when it cannot be part of a file name."""
    if variant is None or variant == "":
        return None
    if not isinstance(variant, str) or len(variant) > VARIANT_LENGTH or not _VARIANT.fullmatch(variant):
        raise InputError(f"{shown(variant)} cannot be a variant, which is a part of a file name such as fp16.")
    return variant


def new_variant(variant: object) -> str | None:
    """As `checked_variant`, for files that are to be written: stricter, so that no name means two things."""
    checked = checked_variant(variant)
    if checked is not None and not _NEW_VARIANT.fullmatch(checked):
        raise InputError(f"{shown(checked)} cannot be a variant: letters, digits and underscores can, such as fp16.")
    return checked
