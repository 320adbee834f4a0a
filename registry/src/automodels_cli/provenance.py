"""Where a plugin's distribution comes from: its metadata, who installed it, and from what."""

from __future__ import annotations

from typing import Any

from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.package_files import installed_by, installed_from
from automodels.plugins.scan import Distribution


def provenance(plugin: Plugin, catalog: Catalog) -> dict[str, Any] | None:
    """What the metadata say; None for a plugin that no distribution declares."""
    distribution = _distribution(plugin, catalog)
    if distribution is None:
        return None
    return {
        "distribution": distribution.name,
        "version": distribution.version,
        "metadata": distribution.metadata,
        "installer": installed_by(distribution),
        "url": installed_from(distribution),
        "editable": plugin.editable,
    }


def _distribution(plugin: Plugin, catalog: Catalog) -> Distribution | None:
    points = [point.distribution for point in catalog.scan.entry_points if point.name == plugin.name]
    same = [each for each in points if each.version == plugin.version]
    return next(iter(same or points), catalog.scan.distributions.get(plugin.name))
