"""Strict, bounded JSON.

Files from elsewhere are read with the rules of RFC 8259 and none of Python's leniency: duplicate keys, NaN and
Infinity, trailing bytes, deep nesting and oversize files are refused with a sentence each.
"""

from __future__ import annotations

import json
import math
import os
import stat
from typing import Any

from automodels.errors import AutomodelsError, CheckpointNotFoundError, ConfigFileError
from automodels.plugins.scan import printable, shown

CONFIG_BYTES = 16 << 20  # data_config-like files of real repositories reach some megabytes
DEPTH = 32


def read_json_object(
    path: str | os.PathLike[str], *, limit: int = CONFIG_BYTES, error: type[AutomodelsError] = ConfigFileError
) -> dict[str, Any]:
    """The JSON object in a file; raises `error` with one sentence, CheckpointNotFoundError when there is no file."""
    return parse_json_object(_content(path, limit, error), what=printable(os.fspath(path)), error=error)


def read_json_array(
    path: str | os.PathLike[str], *, limit: int = CONFIG_BYTES, error: type[AutomodelsError] = ConfigFileError
) -> list[Any]:
    """The JSON array in a file; raises like `read_json_object`."""
    what = printable(os.fspath(path))
    value = _parsed(_content(path, limit, error), what, error, DEPTH)
    if not isinstance(value, list):
        raise error(f"{what} holds {_kind(value)}, not an array.")
    return value


def _content(path: str | os.PathLike[str], limit: int, error: type[AutomodelsError]) -> bytes:
    what = printable(os.fspath(path))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading from a pipe would wait for ever
            raise error(f"{what} is not a regular file.")
        with open(path, "rb") as stream:
            # The size is asked for first: a buffer of `limit` bytes for each small file would be most of the memory.
            data = stream.read(min(os.fstat(stream.fileno()).st_size, limit) + 1)
    except FileNotFoundError as missing:
        raise CheckpointNotFoundError(f"{what} is missing.") from missing
    except OSError as failure:
        raise error(f"{what} cannot be read: {failure.strerror}.") from failure
    if len(data) > limit:
        raise error(f"{what} has more than {limit} bytes; a file of this kind is never that large.")
    return data


def parse_json_object(
    data: bytes, *, what: str, error: type[AutomodelsError] = ConfigFileError, depth: int = DEPTH
) -> dict[str, Any]:
    """The JSON object in `data`; `what` names it in errors."""
    value = _parsed(data, what, error, depth)
    if not isinstance(value, dict):
        raise error(f"{what} holds {_kind(value)}, not an object.")
    return value


def _parsed(data: bytes, what: str, error: type[AutomodelsError], depth: int) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise error(f"{what} is not UTF-8: byte {failure.start} is {data[failure.start]:#04x}.") from failure
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as failure:
        raise error(f"{what} is nested more than {depth} levels deep.") from failure
    except ValueError as failure:
        raise error(f"{what} is not strict JSON: {failure}.") from failure
    if _depth_exceeds(value, depth):
        raise error(f"{what} is nested more than {depth} levels deep.")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None is meant
        raise ValueError(f"the key {shown(twice)} stands there twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        int: "a number",
        float: "a number",
        bool: "a boolean",
    }
    return names.get(type(value), "null")


def _depth_exceeds(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    while level:
        depth -= 1
        if depth < 0:
            return True
        children = (c for v in level for c in (v.values() if isinstance(v, dict) else v))
        level = [child for child in children if isinstance(child, dict | list)]
    return False
