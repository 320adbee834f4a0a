"""Checks of arguments that are passed on by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from automodels.errors import UnknownArgumentError, nearest

_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str], *, elsewhere: Iterable[str] = ()) -> None:
    """Raises UnknownArgumentError, with the nearest name, when something given is not known.

    `elsewhere` are names that would have been taken before they came here: no argument, but possibly meant.
    """
    known = sorted(known)
    meant = sorted({*known, *elsewhere})
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    lines = []
    for name in unknown:
        guess = nearest(name, meant)
        lines.append(f"{what} has no argument {name!r}" + (f"; did you mean {guess!r}?" if guess else "."))
    raise UnknownArgumentError("\n".join(lines))


def parameters(function: Callable[..., Any]) -> set[str]:
    """Names of the parameters that a function or a class takes by name."""
    return {parameter.name for parameter in _signature(function) if parameter.kind in _BY_NAME}


def check_call(function: Callable[..., Any], given: Iterable[str]) -> None:
    """Raises UnknownArgumentError when a function or a class does not take what is given by name."""
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in _signature(function)):
        refuse_unknown(function.__name__, given, parameters(function))


def _signature(function: Callable[..., Any]) -> Iterable[inspect.Parameter]:
    return inspect.signature(function).parameters.values()
