"""Calls by name: an argument that a model does not take is refused with the nearest one that it takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from automodels.arguments import parameters, refuse_unknown


def refuse_unknown_arguments(model: nn.Module, _inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    """A hook before a model's calls: raises UnknownArgumentError for names of arguments that it does not take.

    A hook, because a `__call__` of our own would be what torch.compile compiles, one for all models of a process.
    """
    if torch.compiler.is_compiling():
        return
    kind: type = type(model)
    known = _arguments(kind)
    if known is not None and not known.issuperset(options):
        refuse_unknown(kind.__name__, options, known)


@functools.cache
def _arguments(model_class: type) -> frozenset[str] | None:
    """Names that a model's `forward` takes; None where it takes any, and sees for itself."""
    forward = model_class.forward  # type: ignore[attr-defined]  # a module's
    kinds = {parameter.kind for parameter in inspect.signature(forward).parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    return frozenset(parameters(forward) - {"self"})
