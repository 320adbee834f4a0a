"""Whether what a manifest names is what it is named for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from automodels.checkpoint.keymap import KeyMap
from automodels.config import PretrainedConfig
from automodels.plugins.entries import Plugin
from automodels.plugins.host import load_reference
from automodels.plugins.tables import ATTENTION, BackendTable, ModelTable
from automodels_cli.checking.child_imports import accepts
from automodels_cli.checking.references import Reference

Judgement = tuple[str, str, bool]
"""Code, message, whether it is a problem."""


def looked_at(reference: Reference, found: Any, plugin: Plugin) -> Iterator[Judgement]:
    """What is wrong with what a reference of a plugin leads to."""
    manifest = plugin.manifest
    assert manifest is not None
    where = f"{reference.where} is {reference.text}"
    if reference.role == "config":
        yield from _config(where, found, manifest.models[reference.table].model_type)
    elif reference.role == "keymap" and not isinstance(found, KeyMap):
        yield "C302", f"{where}, a {type(found).__name__}, not a KeyMap", True
    elif reference.role == "model":
        yield from _model(where, found, manifest.models[reference.table], plugin)
    elif reference.role == "implementation":
        yield from _backend(where, found, manifest.backends[reference.table])
    elif reference.role == "probe" and not callable(found):
        yield "C302", f"{where}, a {type(found).__name__}, which cannot be called", True


def _config(where: str, found: Any, model_type: str) -> Iterator[Judgement]:
    if not (isinstance(found, type) and issubclass(found, PretrainedConfig)):
        yield "C302", f"{where}, which is no class derived from PretrainedConfig", True
    elif found.model_type != model_type:
        yield "C302", f"{where}, whose model_type is {found.model_type!r}, not {model_type!r}", True


def _model(where: str, found: Any, table: ModelTable, plugin: Plugin) -> Iterator[Judgement]:
    if not isinstance(found, type):
        yield "C302", f"{where}, a {type(found).__name__}, not a class", True
        return
    if not callable(getattr(found, "from_pretrained", None)):
        yield "C302", f"{where}, which has no from_pretrained", True
    framework = getattr(found, "framework", None)
    if framework != table.framework:
        yield "C302", f"{where}, whose framework is {framework!r}, not {table.framework!r}", True
    if hasattr(found, "for_entry"):  # a head for any backbone: it gets its config from that
        return
    config_class = getattr(found, "config_class", None)
    if not isinstance(config_class, type):
        yield "C302", f"{where}, which has no config_class", True
    elif f"{config_class.__module__}:{config_class.__qualname__}" != table.config:
        message = f"{where}, whose config_class is {config_class.__module__}:{config_class.__qualname__}"
        yield (
            "C302",
            f"{message}; the manifest says {table.config}",
            load_reference(table.config, plugin) is not config_class,
        )


def _backend(where: str, found: Any, table: BackendTable) -> Iterator[Judgement]:
    if not callable(found):
        yield "C302", f"{where}, a {type(found).__name__}, which cannot be called", True
    elif table.kind == ATTENTION and (reason := accepts(found, table.framework, table.supports)) is not None:
        yield "C302", f"{where}, which does not take what the manifest says it supports: {reason}", True
