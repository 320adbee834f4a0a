"""`registry backends`: declared backends, the first choice first, and which of them can run here."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from automodels.backends import unavailable
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.tables import BackendTable
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import checked_framework, installed
from automodels_cli.output import Output

HEADERS = ("BACKEND", "FRAMEWORK", "PLUGIN", "DEVICES", "DTYPES", "PRIORITY", "STATUS")


def run(arguments: Namespace, output: Output) -> int:
    """Prints every declared backend; that none can run here is an answer and no failure."""
    framework = checked_framework(arguments.framework)
    catalog = installed(output)
    found = [_described(plugin, table, catalog) for plugin, table in catalog.backends(framework)]
    if output.as_json:
        output.document("backends", {"backends": found})
        return FINE
    output.table(HEADERS, [_cells(backend) for backend in found])
    if not found:
        output.note(f"No installed plugin declares a backend{f' for {framework}' if framework else ''}.")
    return FINE


def _described(plugin: Plugin, table: BackendTable, catalog: Catalog) -> dict[str, Any]:
    reason = unavailable(plugin, table, catalog)
    return {
        "name": table.name,
        "framework": table.framework,
        "plugin": plugin.name,
        "version": plugin.version,
        "implementation": table.implementation,
        "devices": list(table.devices),
        "dtypes": list(table.dtypes),
        "min_capability": table.min_capability,
        "priority": table.priority,
        "requires": list(table.requires),
        "available": reason is None,
        "reason": reason,
    }


def _cells(backend: dict[str, Any]) -> tuple[str, ...]:
    capability = backend["min_capability"]
    devices = ", ".join(backend["devices"]) + (f" (capability {capability / 10:g})" if capability else "")
    return (
        backend["name"],
        backend["framework"],
        f"{backend['plugin']} {backend['version']}",
        devices,
        ", ".join(backend["dtypes"]) or "all",
        str(backend["priority"]),
        f"unavailable: {backend['reason']}" if backend["reason"] else "available",
    )
