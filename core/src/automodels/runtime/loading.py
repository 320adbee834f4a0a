"""The steps of `from_pretrained` that need no framework, one function each.

name → located_with_config → open_checkpoint → plan_for, and then the runtime fills what it has built
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from automodels.arguments import refuse_unknown
from automodels.checkpoint.formats import FORMATS, Naming
from automodels.checkpoint.keymap import KeyMap
from automodels.checkpoint.locate import OPTIONS, Location, locate, split_options
from automodels.checkpoint.plan import AbstractParameter, Plan, make_plan
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.stability import again_if_changed
from automodels.config import PretrainedConfig
from automodels.errors import CheckpointMismatchError, InputError, listed
from automodels.runtime.classes import ModelClass

logger = logging.getLogger("automodels")

F = TypeVar("F", bound=Callable[..., Any])

MANY_LAYERS = 512  # more than any published model has


def located_with_config(
    model_class: type[ModelClass],
    name: str | os.PathLike[str] | Location,
    config: PretrainedConfig | None,
    options: Mapping[str, Any],
    *,
    known: Collection[str],
) -> tuple[Location, PretrainedConfig]:
    """Where a checkpoint lies, and its config or the one given, with the fields that options override.

    Raises CheckpointNotFoundError, HubError, ConfigError, InputError, and UnknownArgumentError for options that are
    neither where a checkpoint lies nor fields; `known` are arguments that may have been meant.
    """
    where, overrides = split_options(options)
    location = locate(name, **where)
    if config is None:
        config = model_class.config_class.from_dict(location.config, name_or_path=location.name)
    return location, overridden(model_class, config, overrides, known=known)


def overridden(
    model_class: type[ModelClass],
    config: PretrainedConfig | None,
    overrides: Mapping[str, Any],
    *,
    known: Collection[str],
) -> PretrainedConfig:
    """A copy of the config with other fields; errors are those of `located_with_config`, InputError without a config.

    `known` are arguments that may have been meant.
    """
    if config is None:
        raise InputError(f"{model_class.__name__} needs config=…: there is no checkpoint that it could be read from.")
    model_class.check_config(config)
    elsewhere = {*known, *OPTIONS, "framework", "plugin"} - overrides.keys()
    refuse_unknown(model_class.__name__, overrides, model_class.config_class.field_names(), elsewhere=elsewhere)
    return config.copy_with(**overrides)


def again_if_saved(load: F) -> F:
    """A `from_pretrained` that starts again when a save came in between; not for a Location, whose finder does that."""

    @functools.wraps(load)
    def loading(model_class: Any, name: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(name, Location):
            return load(model_class, name, *arguments, **options)
        return again_if_changed(lambda: load(model_class, name, *arguments, **options))

    return cast("F", loading)


def refuse_many_layers(config: PretrainedConfig, checkpoint: Checkpoint, source: str) -> None:
    """Each layer has a tensor at least; checked first, because building many layers takes long, even without values."""
    layers = getattr(config, "num_hidden_layers", 0)
    if layers > max(len(checkpoint), MANY_LAYERS):
        raise CheckpointMismatchError(
            f"The config of {source} has {layers} layers; its weight files have {len(checkpoint)} tensors."
        )


def plan_for(
    model: ModelClass,
    abstract: Mapping[str, AbstractParameter],
    checkpoint: Checkpoint,
    source: str,
    *,
    strict: bool,
    ignore_mismatched_sizes: bool,
    keymap: KeyMap | None = None,
) -> Plan:
    """Which tensor goes into which parameter; raises CheckpointMismatchError before anything is allocated.

    `source` names it in errors; `keymap` stands in for the model's, for tensors under whatever names it has.
    """
    return make_plan(
        checkpoint,
        abstract,
        model.keymap if keymap is None else keymap,
        backbone=model.base_model_prefix,
        may_be_fresh=model.may_be_fresh,
        ignore_mismatched_sizes=ignore_mismatched_sizes,
        strict=strict,
        source=source,
        naming=checkpoint.naming if keymap is None else Naming.HUB,
        other_weights=_other_weights(checkpoint),
    )


def _other_weights(checkpoint: Checkpoint) -> str:
    """How to load torch's weights in place of Flax's, of which each family had its own layouts."""
    if checkpoint.naming is not Naming.FLAX:
        return ""
    names = [name for form in FORMATS if form.naming is Naming.HUB for name in (form.single(), *form.indexes())]
    there = [name for name in names if name not in checkpoint.files and (checkpoint.directory / name).is_file()]
    what = f"There is {listed(there, limit=2)}, too" if there else "The repository may have torch's weights, too"
    return f"{what}: from_pt=True."


def warn_of_fresh(model_class: type, plan: Plan, source: str) -> None:
    """Says which parameters did not come from the checkpoint: until they are trained, results mean nothing."""
    fresh = (*plan.fresh, *plan.mismatched)
    if fresh:
        logger.warning(
            "%s from %s: %s %s fresh, not from the checkpoint; train the model before its results are used.",
            model_class.__name__,
            source,
            listed(fresh, limit=4),
            "is" if len(fresh) == 1 else "are",
        )
