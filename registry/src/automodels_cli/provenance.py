"""Where a plugin's distribution comes from: its metadata, who installed it, and from what."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.scan import Distribution, read_bounded, shown

_INSTALLER_CHARACTERS = 60


def provenance(plugin: Plugin, catalog: Catalog) -> dict[str, Any] | None:
    """What the metadata say; None for a plugin that no distribution declares."""
    distribution = _distribution(plugin, catalog)
    if distribution is None:
        return None
    return {
        "distribution": distribution.name,
        "version": distribution.version,
        "metadata": distribution.metadata,
        "installer": _installer(distribution),
        "url": _url(distribution),
        "editable": plugin.editable,
    }


def _distribution(plugin: Plugin, catalog: Catalog) -> Distribution | None:
    points = [point.distribution for point in catalog.scan.entry_points if point.name == plugin.name]
    same = [each for each in points if each.version == plugin.version]
    return next(iter(same or points), catalog.scan.distributions.get(plugin.name))


def _installer(distribution: Distribution) -> str | None:
    data = read_bounded(os.path.join(distribution.metadata, "INSTALLER"), 4096) or b""
    return data.decode("utf-8", "replace").strip()[:_INSTALLER_CHARACTERS] or None


def _url(distribution: Distribution) -> str | None:
    """Where a direct installation came from (PEP 610), without the password that may stand in it."""
    data = read_bounded(os.path.join(distribution.metadata, "direct_url.json"), 1 << 16)
    try:
        given = json.loads(data) if data else {}
        url = given.get("url") if isinstance(given, dict) else None
        if not isinstance(url, str):
            return None
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:1000]
    except (ValueError, RecursionError):
        return shown(data)
