"""Tied parameters, of which a checkpoint holds both tensors: they have to be the same, or the config is wrong.

The model computes with one tensor for both places. Where the other holds other values, results would be wrong without
a word. Nothing is read when a checkpoint holds one of them, as nearly all do.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from automodels.checkpoint.comparing import same_values
from automodels.checkpoint.formats import Naming
from automodels.checkpoint.plan import Assignment, Plan
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.tensors import TensorView
from automodels.config import PretrainedConfig
from automodels.errors import AutomodelsError, CheckpointMismatchError, listed
from automodels.runtime.classes import ModelClass

logger = logging.getLogger("automodels")


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A tensor that is not loaded, and what is loaded in its place."""

    unread: TensorView
    loaded: TensorView
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.unread.name} and {self.loaded.name}"


def check_ties(
    model: ModelClass,
    config: PretrainedConfig,
    plan: Plan,
    checkpoint: Checkpoint,
    source: str,
    *,
    strict: bool,
    untied_plan: Callable[[PretrainedConfig], Plan],
) -> Plan:
    """The plan, once it is certain that tied tensors hold the same values.

    `untied_plan` plans the same load for another config. Raises CheckpointMismatchError when they differ and the model
    has a place for each of them with `tie_word_embeddings=False`. A class that has none, such as one without that head,
    leaves the second tensor over: a warning says so, and `strict` refuses it.
    """
    if not config.tie_word_embeddings:
        return plan
    pairs = [*_of_hub(plan, checkpoint), *_of_flax(model, plan, checkpoint)]
    apart = [pair for pair in pairs if not same_values(pair.unread, pair.loaded, transposed=pair.transposed)]
    if not apart:
        return plan
    untied = _untied(untied_plan, config)
    taken = {assignment.tensor.name for assignment in untied.assignments} if untied else set()
    if untied and any(pair.unread.name in taken for pair in apart):
        raise _contradiction(apart, source, is_complete=set(untied.fresh) <= set(plan.fresh))
    names = [pair.unread.name for pair in apart]
    text = f"{listed([str(pair) for pair in apart], limit=3)} hold different values"
    if strict:
        raise CheckpointMismatchError(
            f"{source}: {text}; {type(model).__name__} has one place for both.",
            hints=["Load it without strict=True to leave the first out."],
            trace=[f"left over: {name}" for name in names],
        )
    if model.base_model_prefix:  # a backbone never has both
        logger.warning("%s from %s: %s; the first is left out.", type(model).__name__, source, text)
    tied = {name: parameter for name, parameter in plan.tied.items() if name not in names}
    return dataclasses.replace(plan, tied=tied, unexpected=tuple(dict.fromkeys([*plan.unexpected, *names])))


def _of_hub(plan: Plan, checkpoint: Checkpoint) -> Iterator[_Pair]:
    """Second spellings of the key map."""
    loaded = {assignment.parameter: assignment for assignment in plan.assignments}
    for name, parameter in plan.tied.items():
        if parameter in loaded:  # and not started afresh
            yield _Pair(unread=checkpoint[name], loaded=loaded[parameter].tensor)


def _of_flax(model: ModelClass, plan: Plan, checkpoint: Checkpoint) -> Iterator[_Pair]:
    """The same among the names of a Flax tree, where a linear layer has a `kernel`, the other way round."""
    if checkpoint.naming is not Naming.FLAX:
        return
    left = {model.keymap.canonical(name): name for name in plan.unexpected}
    for one, other in model.keymap.alternates.items():
        parent, _, leaf = one.rpartition(".")
        name = left.get(f"{parent}.{'kernel' if leaf == 'weight' else leaf}")
        found = model.keymap.parameter(other)
        filled = _filling(plan, found[0], model.base_model_prefix) if found else None
        if name is not None and filled is not None:
            yield _Pair(unread=checkpoint[name], loaded=filled.tensor, transposed=leaf == "weight")


def _filling(plan: Plan, parameter: str, backbone: str) -> Assignment | None:
    places = (f"{backbone}.{parameter}", parameter)
    return next((assignment for assignment in plan.assignments if assignment.parameter in places), None)


def _untied(untied_plan: Callable[[PretrainedConfig], Plan], config: PretrainedConfig) -> Plan | None:
    """The plan of the same load without ties; None where the family is always tied."""
    try:
        return untied_plan(config.copy_with(tie_word_embeddings=False))
    except AutomodelsError:
        return None


def _contradiction(apart: list[_Pair], source: str, *, is_complete: bool) -> CheckpointMismatchError:
    message = f"{source}: {listed([str(pair) for pair in apart], limit=3)} hold different values, but the config says "
    message += "that they are one (tie_word_embeddings is true); the model would be wrong without a word."
    hint = "Pass tie_word_embeddings=False to load each in its place, or set it in config.json."
    if not is_complete:
        hint = f"Remove the wrong one from the weight file: {listed([pair.unread.name for pair in apart], limit=3)}?"
    return CheckpointMismatchError(message, hints=[hint], trace=[f"different: {pair}" for pair in apart])
