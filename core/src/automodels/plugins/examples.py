"""`[model.example]` of a manifest: a few fields of a config that make a tiny model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from automodels.plugins.scan import shown

FIELDS = 64
ELEMENTS = 64
CHARACTERS = 200
LARGEST = 1 << 31  # a number above it makes no tiny model
_FIELD = re.compile(r"[A-Za-z_]\w{0,63}", re.ASCII)


def read_example(raw: Mapping[str, Any], where: str, wrong: Callable[[str], None]) -> dict[str, Any]:
    """The fields that a `[[model]]` table gives as its example; `wrong` is told of whatever is no field."""
    found = raw.get("example", {})
    if not isinstance(found, dict) or len(found) > FIELDS:
        wrong(f"example of {where} is not a table of at most {FIELDS} fields of the config")
        return {}
    for key, value in found.items():
        if _FIELD.fullmatch(key) is None:
            wrong(f"example of {where} has the key {shown(key)}, which is no name of a field")
        elif not _is_small(value):
            form = f"a number, a truth value, a text, or a list of at most {ELEMENTS} of them"
            wrong(f"{key} in the example of {where} is {shown(value)}, not {form}")
    return {key: value for key, value in found.items() if _FIELD.fullmatch(key) and _is_small(value)}


def _is_small(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= ELEMENTS and all(_is_scalar(element) for element in value)
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= CHARACTERS and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) < LARGEST  # a bool is an int
