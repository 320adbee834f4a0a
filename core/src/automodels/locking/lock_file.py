"""Reading and writing a lock file: strict, sorted JSON, the same bytes for the same content."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from automodels.errors import CheckpointNotFoundError, InputError
from automodels.json_files import read_json_object
from automodels.locking.contents import ANY, Choice, Choices, Lock, LockedCheckpoint, LockedFile, LockedPlugin
from automodels.plugins.manifest import FRAMEWORKS, NAME, REFERENCE
from automodels.plugins.scan import printable, shown

LOCK_FILE = "automodels.lock"
SCHEMA = 1
LOCK_BYTES = 64 << 20  # five thousand entries in three frameworks take four
FILES = 10_000  # of one checkpoint

T = TypeVar("T")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ERROR = re.compile(r"AM[0-9]{3}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_REQUEST = re.compile("|".join((ANY, *FRAMEWORKS)))
_SOURCE = re.compile(r"directory|package|hub")


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """What a lock file says; raises InputError when it is missing, malformed, or of another schema."""
    file = printable(os.fspath(path))
    try:
        raw = read_json_object(path, limit=LOCK_BYTES, error=InputError)
    except CheckpointNotFoundError as missing:
        raise InputError(f"There is no lock file {file}.", hints=["To write one: registry lock"]) from missing
    try:
        return _lock(raw)
    except _MalformedError as error:
        raise InputError(
            f"{file} is not a lock file of this version: {error}.", hints=["Remove it, then run: registry lock"]
        ) from None


def lock_text(lock: Lock) -> str:
    """The file's content."""
    document = {"schema": SCHEMA, "kind": "lock", **_plain(asdict(lock))}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _plain(value: Any) -> Any:
    """Without what is empty: a choice is a class or an error, and only the Hub has commits."""
    if not isinstance(value, dict):
        return value
    keep = ("plugins", "decisions", "checkpoints", "files")
    return {key: _plain(item) for key, item in value.items() if key in keep or item not in ("", None)}


class _MalformedError(Exception):
    """Where a lock file is not what it should be."""


def _lock(raw: dict[str, Any]) -> Lock:
    if raw.get("kind") != "lock":
        raise _MalformedError(f"its kind is {shown(raw.get('kind'))}, not 'lock'")
    if raw.get("schema") != SCHEMA or isinstance(raw["schema"], bool):
        raise _MalformedError(f"its schema is {shown(raw.get('schema'))}; this version reads {SCHEMA}")
    _only(raw, "the file", ("schema", "kind", "plugin_api", "plugins", "decisions", "checkpoints"))
    return Lock(
        plugin_api=_text(raw, "plugin_api", "the file", _TEXT),
        plugins=_each(raw.get("plugins"), "plugins", NAME, _plugin),
        decisions=_each(raw.get("decisions"), "decisions", NAME, _tasks),
        checkpoints=_each(raw.get("checkpoints"), "checkpoints", None, _checkpoint),
    )


def _plugin(raw: dict[str, Any], where: str) -> LockedPlugin:
    _only(raw, where, ("distribution", "version", "manifest"))
    return LockedPlugin(
        distribution=_text(raw, "distribution", where, NAME),
        version=_text(raw, "version", where, _TEXT),
        manifest=_text(raw, "manifest", where, _SHA256),
    )


def _tasks(raw: dict[str, Any], where: str) -> Mapping[str, Choices]:
    return _each(raw, where, NAME, _choices)


def _choices(raw: dict[str, Any], where: str) -> Choices:
    return _each(raw, where, _REQUEST, _choice)


def _choice(raw: dict[str, Any], where: str) -> Choice:
    if "error" in raw:
        _only(raw, where, ("error",))
        return Choice(error=_text(raw, "error", where, _ERROR))
    _only(raw, where, ("plugin", "model", "config"))
    return Choice(
        plugin=_text(raw, "plugin", where, NAME),
        model=_text(raw, "model", where, REFERENCE),
        config=_text(raw, "config", where, REFERENCE),
    )


def _checkpoint(raw: dict[str, Any], where: str) -> LockedCheckpoint:
    _only(raw, where, ("source", "model_type", "commit", "decisions", "files"))
    source = _text(raw, "source", where, _SOURCE)
    files = _each(raw.get("files"), f"files of {where}", None, _file)
    for name in files:
        if not is_file_name(name):
            raise _MalformedError(f"{where} names the file {shown(name)}, which could lie outside of the checkpoint")
    if len(files) > FILES:
        raise _MalformedError(f"{where} has more than {FILES} files")
    return LockedCheckpoint(
        source=source,
        model_type=_text(raw, "model_type", where, NAME),
        commit=_text(raw, "commit", where, _COMMIT) if source == "hub" or "commit" in raw else None,
        decisions=_each(raw.get("decisions"), f"decisions of {where}", NAME, _choices),
        files=files,
    )


def is_file_name(name: str) -> bool:
    """Whether a name, with slashes, can only be that of a visible file inside of a checkpoint."""
    parts = name.split("/")
    odd = any(character in name for character in '\\:*?"<>|')
    return name.isprintable() and len(name) <= 512 and not odd and not any(part[:1] in ("", ".") for part in parts)


def _file(raw: dict[str, Any], where: str) -> LockedFile:
    _only(raw, where, ("size", "sha256"))
    size = raw.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise _MalformedError(f"size of {where} is {shown(size)}, not a number of bytes")
    return LockedFile(size=size, sha256=_text(raw, "sha256", where, _SHA256))


def _each(
    table: object, where: str, form: re.Pattern[str] | None, read: Callable[[dict[str, Any], str], T]
) -> dict[str, T]:
    """The objects in an object; names have a form, or are any printable text."""
    if not isinstance(table, dict):
        raise _MalformedError(f"{where} is {shown(table)}, not an object")
    found = {}
    for name, value in table.items():
        if not name.isprintable() or not 0 < len(name) <= 1024 or (form is not None and form.fullmatch(name) is None):
            raise _MalformedError(f"{shown(name)} cannot stand in {where}")
        if not isinstance(value, dict):
            raise _MalformedError(f"{shown(name)} in {where} is {shown(value)}, not an object")
        found[name] = read(value, shown(name))
    return found


def _text(raw: dict[str, Any], key: str, where: str, form: re.Pattern[str]) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise _MalformedError(f"{key} of {where} is {shown(value)}")
    return value


def _only(raw: dict[str, Any], where: str, known: tuple[str, ...]) -> None:
    for key in raw:
        if key not in known:
            raise _MalformedError(f"{where} has the unknown key {shown(key)}")
