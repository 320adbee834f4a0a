"""Which installed plugin a model class comes from."""

from __future__ import annotations

from automodels.plugins.catalog import load_catalog
from automodels.plugins.entries import Plugin


def plugin_of(model_class: type) -> Plugin | None:
    """The plugin whose manifest names the class, or a class that it is derived from; None for anybody's own class."""
    entries = load_catalog().entries
    for ancestor in model_class.__mro__:
        reference = f"{ancestor.__module__}:{ancestor.__qualname__}"
        for entry in entries:
            if entry.model in (reference, ancestor):
                return entry.plugin
    return None
