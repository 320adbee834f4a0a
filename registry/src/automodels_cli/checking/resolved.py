"""What a reference string leads to, where nothing has to be said about who named it."""

from __future__ import annotations

import functools
import importlib
from typing import Any


def object_of(reference: str) -> Any:
    """The object that `package.module:name` names."""
    module, _, name = reference.partition(":")
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))
