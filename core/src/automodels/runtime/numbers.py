"""Checks of arguments that are numbers."""

from __future__ import annotations

import operator
from typing import Any

from automodels.errors import InputError


def whole(what: str, value: Any) -> int:
    """The number; raises InputError for anything but a whole one."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"{what} is {value!r}, not a whole number.") from error


def positive(what: str, value: Any) -> int:
    """The number; raises InputError for anything but a whole one above 0."""
    if isinstance(value, bool) or (number := whole(what, value)) < 1:
        raise InputError(f"{what} is {value!r}, not a whole number above 0.")
    return number


def sizes(what: str, value: Any) -> tuple[int, ...]:
    """The numbers; raises InputError for anything but whole ones above 0, one at least."""
    if not isinstance(value, tuple | list) or not value:
        raise InputError(f"{what} is {value!r}, not a tuple of sizes such as (1, 128).")
    return tuple(positive(f"{what}[{place}]", size) for place, size in enumerate(value))
