"""The plan of a load: which tensor goes into which parameter, complete before any byte of data is read.

headers + key map + abstract parameters → Plan, or one error with every culprit

Tensors with the Hub's names go through the key map; those with Flax's names are parameter paths already, with or
without the backbone's own name in front.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from automodels.checkpoint.dtypes import is_floating
from automodels.checkpoint.formats import Naming
from automodels.checkpoint.keymap import PLACEHOLDER, SAME, TRANSPOSED, KeyMap, Layout
from automodels.checkpoint.tensors import TensorView
from automodels.errors import CheckpointFormatError, CheckpointMismatchError

_NUMBER = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")
_TURNED = "the other way round"
CULPRITS = 3  # of one kind are named in a message; the trace has all


@dataclass(frozen=True, kw_only=True)
class AbstractParameter:
    """Shape and type of a parameter that has no values yet."""

    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One tensor and the parameter that it fills."""

    parameter: str
    tensor: TensorView
    layout: Layout
    dtype: np.dtype
    """Type of the parameter; the tensor is cast if its own differs."""

    @property
    def is_cast(self) -> bool:
        return self.tensor.dtype != self.dtype


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that loading will do."""

    assignments: tuple[Assignment, ...]
    fresh: tuple[str, ...]
    """Parameters that get new values: the checkpoint has no tensor for them, and their task declares them new."""

    unexpected: tuple[str, ...]
    """Tensors that no parameter takes: leftovers of other heads, or of another model."""

    buffers: tuple[str, ...]
    """Tensors that old versions saved and that are no parameters."""

    mismatched: tuple[str, ...] = ()
    """Parameters that get new values because the tensor's shape differs, which the caller allowed."""

    tied: Mapping[str, str] = field(default_factory=dict)
    """Tensor that is not read → the parameter whose array it holds once more."""


def make_plan(
    tensors: Mapping[str, TensorView],
    parameters: Mapping[str, AbstractParameter],
    keymap: KeyMap,
    *,
    backbone: str = "",
    naming: Naming = Naming.HUB,
    may_be_fresh: Collection[str] = (),
    ignore_mismatched_sizes: bool = False,
    strict: bool = False,
    source: str = "the checkpoint",
    other_weights: str = "",
) -> Plan:
    """The complete plan for filling `parameters` (path → shape and type) from `tensors`.

    Parameter paths are relative to the model; `backbone` is the path of the backbone in it (empty for the backbone
    itself). `naming` says whose names the tensors bear. An alternate of the key map whose parameter the model does not
    have fills the other's parameter when that has no tensor, and is tied to it otherwise. A parameter outside the
    backbone, or below a path in `may_be_fresh`, may be missing. `other_weights` says what else could be loaded, for a
    file that keeps tensors the other way round. Raises CheckpointMismatchError, with every culprit in the trace, when a
    backbone parameter is missing, a shape differs, a type cannot be cast, or — with `strict` — anything is missing or
    left over; CheckpointFormatError when two spellings of one tensor stand side by side.
    """
    sorting = _sort(tensors, parameters, keymap, backbone=backbone, naming=naming, source=source)
    by_parameter, unexpected = sorting.by_parameter, sorting.unexpected
    missing = [path for path in parameters if path not in by_parameter]
    fresh = [path for path in missing if not strict and _is_new(path, backbone, may_be_fresh)]
    lost = missing if strict else [path for path in missing if not _is_new(path, backbone, may_be_fresh)]
    wrong = {
        path: problem
        for path, (tensor, layout) in by_parameter.items()
        if (problem := _problem(tensor, layout, parameters[path]))
    }
    mismatched = [path for path, (_, is_shape) in wrong.items() if is_shape and ignore_mismatched_sizes]
    culprits = [f"missing: {path}" for path in lost]
    culprits += [f"wrong: {path}: {text}" for path, (text, _) in wrong.items() if path not in mismatched]
    culprits += [f"left over: {name}" for name in unexpected if strict]
    if culprits:
        is_backbones = any(not _is_new(path, backbone, ()) for path in wrong)
        hints = _hints(culprits, strict=strict, is_backbones=is_backbones, other_weights=other_weights)
        raise _mismatch(culprits, hints, len(parameters), source)
    assignments = [
        Assignment(parameter=path, tensor=tensor, layout=layout, dtype=parameters[path].dtype)
        for path, (tensor, layout) in by_parameter.items()
        if path not in mismatched
    ]
    return Plan(
        assignments=tuple(assignments),
        fresh=tuple(fresh),
        unexpected=tuple(unexpected),
        buffers=tuple(sorting.buffers),
        mismatched=tuple(mismatched),
        tied=sorting.tied,
    )


@dataclass(kw_only=True)
class _Sorting:
    """Where every tensor goes."""

    by_parameter: dict[str, tuple[TensorView, Layout]] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)


def _sort(
    tensors: Mapping[str, TensorView],
    parameters: Mapping[str, AbstractParameter],
    keymap: KeyMap,
    *,
    backbone: str,
    naming: Naming,
    source: str,
) -> _Sorting:
    sorting = _Sorting()
    filled = sorting.by_parameter
    alternates: dict[str, tuple[str, Layout]] = {}
    for name, tensor in tensors.items():
        if found := _found(name, naming, keymap, backbone, parameters):
            parameter, layout = found
            if parameter in filled:
                raise CheckpointFormatError(
                    f"{source}: {filled[parameter][0].name} and {name} are two spellings of one tensor ({parameter})."
                )
            filled[parameter] = (tensor, layout)
        elif other := _alternate(name, naming, keymap, backbone, parameters):
            alternates[name] = other
        else:
            (sorting.buffers if keymap.is_buffer(name) else sorting.unexpected).append(name)
    for name, (parameter, layout) in alternates.items():  # last: whether they are needed is known only now
        if parameter not in filled:
            filled[parameter] = (tensors[name], layout)
        elif tensors[name].shape == filled[parameter][0].shape:
            sorting.tied[name] = parameter
        else:
            sorting.unexpected.append(name)
    return sorting


def _found(
    name: str, naming: Naming, keymap: KeyMap, backbone: str, parameters: Mapping[str, AbstractParameter]
) -> tuple[str, Layout] | None:
    """(parameter, layout) of a tensor; None when no parameter takes it."""
    if naming is Naming.FLAX:
        below = _placed(name, backbone, parameters) or _placed(name.removeprefix(keymap.prefix), backbone, parameters)
        return (below, SAME) if below else None
    found = keymap.parameter(name)
    parameter = _placed(found[0], backbone, parameters) if found else None
    return (parameter, found[1]) if found and parameter else None


def _alternate(
    name: str, naming: Naming, keymap: KeyMap, backbone: str, parameters: Mapping[str, AbstractParameter]
) -> tuple[str, Layout] | None:
    """(parameter, layout) of the tensor that this one spells a second time; None when it does not."""
    found = keymap.alternate(name) if naming is Naming.HUB else None
    parameter = _placed(found[0], backbone, parameters) if found else None
    return (parameter, found[1]) if found and parameter else None


def _placed(path: str, backbone: str, parameters: Mapping[str, AbstractParameter]) -> str | None:
    """The model's path of a key map's parameter: below the backbone, or a head's own."""
    below = f"{backbone}.{path}" if backbone else path
    return below if below in parameters else path if path in parameters else None


def _is_new(path: str, backbone: str, may_be_fresh: Collection[str]) -> bool:
    if backbone and not path.startswith(f"{backbone}."):
        return True
    spellings = (path, _NUMBER.sub(PLACEHOLDER, path))  # a prefix may say {i} for every layer
    return any(f"{spelling}.".startswith(f"{prefix}.") for spelling in spellings for prefix in may_be_fresh)


def _problem(tensor: TensorView, layout: Layout, parameter: AbstractParameter) -> tuple[str, bool] | None:
    """(what does not fit, whether it is the shape)."""
    expected = parameter.shape[::-1] if layout is TRANSPOSED else parameter.shape
    if tensor.shape != expected:
        turned = f", {_TURNED}" if tensor.shape == expected[::-1] else ""
        return f"{tensor.name} has shape {list(tensor.shape)}, the model needs {list(expected)}{turned}", True
    if tensor.dtype != parameter.dtype and not (is_floating(tensor.dtype) and is_floating(parameter.dtype)):
        return f"{tensor.name} is {tensor.dtype.name}, which is not cast to {parameter.dtype.name}", False
    return None


def _hints(culprits: list[str], *, strict: bool, is_backbones: bool, other_weights: str) -> list[str]:
    """What to do, in two lines at most; a backbone's parameters are hardly meant to start afresh."""
    hints = ["Load it without strict=True to allow new heads and leftovers."] if strict else []
    if any(culprit.endswith(_TURNED) for culprit in culprits):
        hints.append(f"The file keeps matrices {_TURNED} than the key map has them. {other_weights}".rstrip())
    elif any(" has shape " in culprit for culprit in culprits):
        afresh = "ass ignore_mismatched_sizes=True to start these parameters afresh."
        hints.append(f"Take a config and weights that belong together, or p{afresh}" if is_backbones else f"P{afresh}")
    return hints


def _mismatch(culprits: list[str], hints: list[str], total: int, source: str) -> CheckpointMismatchError:
    lines = [f"{source} does not fit the model ({total} parameters):"]
    kinds = {culprit.partition(":")[0] for culprit in culprits}
    limit = CULPRITS if len(kinds) < 3 else CULPRITS - 1  # so that all kinds and the hints fit into 12 lines
    for kind in sorted(kinds, key=("missing", "wrong", "left over").index):
        of_kind = [culprit for culprit in culprits if culprit.startswith(f"{kind}:")]
        lines += [f"    {culprit}" for culprit in of_kind[:limit]]
        if len(of_kind) > limit:
            lines.append(f"    … and {len(of_kind) - limit} more {kind}")
    return CheckpointMismatchError("\n".join(lines), hints=hints, trace=culprits)
