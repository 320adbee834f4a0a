"""The steps between a name and a model, one function each.

name → read_checkpoint → decide → config_of → load_model
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from automodels.arguments import refuse_unknown
from automodels.errors import (
    AmbiguousModelError,
    AutomodelsError,
    CheckpointNotFoundError,
    HubError,
    HubOfflineError,
    MissingDependencyError,
    NoUsablePluginError,
    PluginReferenceError,
    UnknownModelTypeError,
)
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.judge import refusal
from automodels.plugins.manifest import NAME
from automodels.plugins.recorded import recorded_in
from automodels.plugins.registration import registered_config
from automodels.plugins.resolve import KNOWN_PLUGINS, Request, Resolution, resolve_entry
from automodels.plugins.scan import shown
from automodels.plugins.settings import current_settings

if TYPE_CHECKING:
    from automodels.checkpoint.locate import Location
    from automodels.config import PretrainedConfig
    from automodels.plugins.entries import Plugin

logger = logging.getLogger("automodels")


def resolve(
    name: str | os.PathLike[str],
    *,
    task: str = "base",
    framework: str | None = None,
    plugin: str | None = None,
    **options: Any,
) -> Resolution:
    """Which class would be loaded, and why no other. Imports no plugin.

    `name` is the name of a checkpoint, or a model type that some plugin offers, installed or not; options are those of
    `locate`. Raises like `from_pretrained` up to the point where a plugin would be imported.
    """
    from automodels.checkpoint.locate import OPTIONS

    refuse_unknown("resolve", options, [*OPTIONS, "task", "framework", "plugin"])
    text = os.fspath(name)
    if text in {*load_catalog().model_types, *KNOWN_PLUGINS} and not os.path.isdir(text):
        return decide({"model_type": text}, task, framework, plugin)
    try:
        location, raw, _ = read_checkpoint(name, options)
    except (CheckpointNotFoundError, HubError, MissingDependencyError) as missing:
        raise _neither(text, missing) from missing
    return decide(raw, task, framework, plugin, source=location.name, location=location)


def read_checkpoint(
    name: str | os.PathLike[str] | Location, options: Mapping[str, Any]
) -> tuple[Location, dict[str, Any], dict[str, Any]]:
    """Where a checkpoint lies, its `config.json` as it stands, and those options that are not about where it lies."""
    from dataclasses import replace

    from automodels.checkpoint.locate import locate, split_options

    where, others = split_options(options)
    if others.pop("trust_remote_code", False):
        logger.warning("trust_remote_code has no effect: code comes from installed plugins, never from checkpoints.")
    location = replace(locate(name, **where))  # a location that was used before has read a config that may be old
    return location, location.config, others


def decide(
    raw: Mapping[str, Any],
    task: str,
    framework: str | None,
    plugin: str | None,
    *,
    source: str = "",
    location: Location | None = None,
) -> Resolution:
    """The entry for a `config.json` and a task; warns of meaningless settings, and notes what else was possible.

    `source` names the checkpoint in errors, `location` is where it lies. Raises LockError where a lock file is in
    force and has another decision.
    """
    request = Request(
        model_type=raw["model_type"],
        task=task,
        framework=framework,
        plugin=plugin,
        recorded=recorded_in(raw),
        source=source,
        repository_code="auto_map" in raw,
    )
    catalog = load_catalog()
    _warn(catalog)
    resolution = resolve_entry(catalog, request)
    if catalog.settings.lock is not None:
        from automodels.locking.enforcing import check_decision

        check_decision(catalog.settings.lock, catalog, request, resolution, location)
    for note in resolution.notes:
        logger.info(note)
    return resolution


def config_of(resolution: Resolution, raw: Mapping[str, Any], location: Location) -> PretrainedConfig:
    """The typed config, as the class that the entry names."""
    entry = resolution.entry
    return _config_class(entry.config, entry.plugin).from_dict(raw, name_or_path=location.name)


def load_model(resolution: Resolution, location: Location, config: PretrainedConfig, options: Mapping[str, Any]) -> Any:
    """Activates the plugin, lets its hooks see the options and the loaded model, and loads.

    The result is what the class's `from_pretrained` returns: a model, or (model, parameters) where options ask for it.
    """
    from automodels.plugins.host import activate

    if (lock := current_settings().lock) is not None:
        from automodels.locking.enforcing import check_files

        check_files(lock, location)
    active = activate(resolution.entry.plugin)
    options = active.configure(config, options)
    loaded = model_class_of(resolution).from_pretrained(location, config=config, resolution=resolution, **options)
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    active.observe_loaded(model, getattr(model, "load_report", None))
    return loaded


def model_class_of(resolution: Resolution) -> Any:
    """The model class of an entry; its plugin is imported now."""
    from automodels.plugins.host import activate

    entry = resolution.entry
    model_class = activate(entry.plugin).load(entry.model)
    found = _class_with("from_pretrained", model_class, entry.model, entry.plugin)
    return found.for_entry(entry) if hasattr(found, "for_entry") else found  # a head for any backbone: on this one


def config_class_of(model_type: str) -> type[PretrainedConfig]:
    """The config class of a model type: registered in this process, or named by the entries.

    Several plugins that name the same class need no choice, and a config needs no framework.
    """
    catalog = load_catalog()
    registered = registered_config(model_type)
    if registered is not None and refusal(registered[1], catalog.settings) is None:
        return _locked_config_class(catalog, model_type, *registered)
    tasks = [entry.task for entry in catalog.entries if entry.model_type == model_type]
    request = Request(model_type=model_type, task=tasks[0] if tasks else "base")
    try:
        entry = resolve_entry(catalog, request).entry
    except (AmbiguousModelError, NoUsablePluginError):
        entries = [entry for entry in catalog.entries if entry.model_type == model_type and not entry.plugin.fatal]
        if len({entry.config for entry in entries}) != 1:
            raise
        entry = entries[0]
    return _locked_config_class(catalog, model_type, entry.config, entry.plugin)


def _locked_config_class(
    catalog: Catalog, model_type: str, reference: str | type, plugin: Plugin
) -> type[PretrainedConfig]:
    if catalog.settings.lock is not None:
        from automodels.locking.enforcing import check_config

        check_config(catalog.settings.lock, catalog, model_type, reference, plugin)
    return _config_class(reference, plugin)


def _config_class(reference: str | type, plugin: Plugin) -> type[PretrainedConfig]:
    from automodels.plugins.host import load_reference

    config_class: type[PretrainedConfig] = _class_with(
        "from_dict", load_reference(reference, plugin), reference, plugin
    )
    return config_class


def _class_with(method: str, found: Any, reference: str | type, plugin: Plugin) -> Any:
    """`found` if it is a class that can be used; PluginReferenceError otherwise."""
    if isinstance(found, type) and hasattr(found, method):
        return found
    raise PluginReferenceError(
        f"{plugin} names {shown(reference)}, which is {shown(found)}, not a class with {method}.",
        hints=[f"Run: pip install --upgrade {plugin.name}"],
    )


def _neither(text: str, missing: AutomodelsError) -> AutomodelsError:
    """What is missing, and where the name could be a model type, also why it is none."""
    if NAME.fullmatch(text) is None:
        return missing
    try:
        decide({"model_type": text}, "base", None, None)
    except UnknownModelTypeError as unknown:
        message, hints = f"{missing.message}\n{unknown.message}", (*missing.hints, *unknown.hints)
        nowhere = isinstance(missing, HubOfflineError | MissingDependencyError)  # wherever could be looked, it is not
        kind = CheckpointNotFoundError if nowhere else type(missing)
        return kind(message, hints=hints, trace=unknown.trace)
    return missing


_warned: set[str] = set()


def _warn(catalog: Catalog) -> None:
    for problem in catalog.warnings:
        if problem.message not in _warned:
            _warned.add(problem.message)
            logger.warning("%s", problem)
