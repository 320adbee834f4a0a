"""JSON Schemas (2020-12) of what `--json` prints: KIND.json describes the documents whose `kind` is KIND.

A command that prints a new kind adds a file. Within one number of `schema`, keys may be added; none is removed, renamed
or given another meaning.
"""

from __future__ import annotations

import json
import os
from typing import Any

from automodels.errors import InputError, nearest


def kinds() -> list[str]:
    """Every kind of document."""
    return sorted(
        name.removesuffix(".json") for name in os.listdir(os.path.dirname(__file__)) if name.endswith(".json")
    )


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of one kind; raises InputError for another name."""
    known = kinds()
    if kind not in known:
        guess = nearest(kind, known)
        hints = [f"Did you mean {guess!r}?"] if guess else []
        raise InputError(f"No document is of the kind {kind!r}.", hints=[*hints, "Run: registry schema"])
    with open(os.path.join(os.path.dirname(__file__), f"{kind}.json"), encoding="utf-8") as stream:
        found: dict[str, Any] = json.load(stream)
    return found
