"""Calls by name: an argument that a model does not take is refused with the nearest one that it takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable

from automodels.arguments import parameters, refuse_unknown


def refuse_unknown_arguments(model_class: type, given: Iterable[str]) -> None:
    """Raises UnknownArgumentError for names of arguments that calls of a model do not take."""
    known = _arguments(model_class)
    if known is not None and not known.issuperset(given):
        refuse_unknown(model_class.__name__, given, known)


@functools.cache
def _arguments(model_class: type) -> frozenset[str] | None:
    """Names that a model's `forward` takes; None where it takes any, and sees for itself."""
    forward = model_class.forward  # type: ignore[attr-defined]  # a module's
    kinds = {parameter.kind for parameter in inspect.signature(forward).parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    return frozenset(parameters(forward) - {"self"})
