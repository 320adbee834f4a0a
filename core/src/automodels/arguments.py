"""Checks of arguments that are passed on by name."""

from __future__ import annotations

from collections.abc import Iterable

from automodels.errors import UnknownArgumentError, nearest


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises UnknownArgumentError, with the nearest name, when something given is not known."""
    known = sorted(known)
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    lines = []
    for name in unknown:
        guess = nearest(name, known)
        lines.append(f"{what} has no argument {name!r}" + (f"; did you mean {guess!r}?" if guess else "."))
    raise UnknownArgumentError("\n".join(lines))
