"""Tiny models, as the examples of manifests describe them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automodels.errors import InputError
from automodels.loading import decide, model_class_of
from automodels.plugins.entries import Entry


def save_tiny_model(directory: Path, model_type: str, task: str, framework: str | None, plugin: str | None) -> Path:
    """Builds the example of a model type and saves it; returns the directory.

    Raises InputError when the manifest has no example, and what resolving raises.
    """
    resolution = decide({"model_type": model_type}, task, framework, plugin)
    fields = example_of(resolution.entry)
    if not fields:
        raise InputError(
            f"The manifest of {resolution.entry.plugin.name} has no [model.example] for {model_type}.",
            hints=["Write the fields of a tiny config there: docs/manifest.md"],
        )
    model_class = model_class_of(resolution)
    model_class(model_class.config_class(**fields)).save_pretrained(directory)
    return directory


def example_of(entry: Entry) -> Mapping[str, Any]:
    """The fields that the manifest gives for an entry's model type; empty where there are none."""
    manifest = entry.plugin.manifest
    tables = () if manifest is None else manifest.models
    fitting = (one for one in tables if (one.model_type, one.framework) == (entry.model_type, entry.framework))
    return next((table.example for table in fitting if entry.task in table.tasks), {})
