"""Names and frameworks that a user wrote down, checked before they decide anything."""

from __future__ import annotations

from automodels.errors import InputError
from automodels.plugins.manifest import FRAMEWORKS, NAME
from automodels.plugins.scan import shown


def check_name(what: str, name: object, *, where: str = "") -> None:
    """Raises InputError when `name` cannot be the name of `what`; `where` stands before the message."""
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise InputError(
            f"{where}{shown(name)} cannot be the name of a {what}: letters, digits, '.', '_' and '-' only."
        )


def checked_framework(value: object, source: str) -> str | None:
    """A preferred framework, None where none is said; raises InputError when there is no such framework."""
    if value is None or value == "":
        return None
    if value not in FRAMEWORKS:
        raise InputError(f"{source} is {shown(value)}, not one of {', '.join(FRAMEWORKS)}.")
    return str(value)
