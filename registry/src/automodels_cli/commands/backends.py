"""`registry backends`: what is declared and can run here; or with `--for`, what a checkpoint would get, and why."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from automodels.backends import Machine, Situation, as_seen_by, cuda_capability, probed_apart, this_machine, unavailable
from automodels.errors import InputError
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.tables import ATTENTION, FEATURES, BackendTable
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import checked_framework, installed
from automodels_cli.output import Output
from automodels_cli.table import ABSENT

PROBING = "Probes are asked, each in a process of its own that imports what it needs; this takes a while."
UNASKED = "Probes were not asked; with --probe they are, each in a process of its own."
_ATTENTION_HEADERS = ("BACKEND", "PLUGIN", "DEVICES", "DTYPES", "SUPPORTS", "PRIORITY", "STATUS")
_EXECUTION_HEADERS = ("BACKEND", "PLUGIN", "DEVICES", "DTYPES", "PRIORITY", "STATUS")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A declared backend, and what is known of it here."""

    plugin: Plugin
    table: BackendTable
    reason: str | None
    """Why it cannot run here."""

    probed: bool
    """Whether its probe was asked."""

    @property
    def status(self) -> str:
        if self.reason is not None:
            return f"unavailable: {self.reason}"
        return "available" if self.probed or self.table.probe is None else "available, if its probe agrees"

    def cells(self) -> tuple[str, ...]:
        table = self.table
        features = [name for name in FEATURES if name in table.supports]
        supports = "all" if len(features) == len(FEATURES) else " ".join(features) or ABSENT
        return (
            table.name,
            self.plugin.name,
            " ".join(
                f"{kind}>={table.min_capability / 10}" if _is_limited(kind, table) else kind for kind in table.devices
            ),
            " ".join(table.dtypes) or "all",
            *([supports] if table.kind == ATTENTION else []),
            str(table.priority),
            self.status,
        )

    def described(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.table.name,
            "framework": self.table.framework,
            "plugin": self.plugin.name,
            "version": self.plugin.version,
            **declared(self.table),
            "available": self.reason is None,
            "reason": self.reason,
            "probed": self.probed,
        }


def run(arguments: Namespace, output: Output) -> int:
    """Prints every declared backend; that none can run here is an answer and no failure.

    With `--for`, prints what would be chosen; raises BackendUnavailableError when nothing can run.
    """
    framework = checked_framework(arguments.framework)
    if arguments.model is not None:
        from automodels_cli.choices import print_choices

        return print_choices(arguments, framework, output)
    for name in ("task", "dtype", "backend", "device", "plugin"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} is about a model.", hints=["Run: registry backends --for MODEL"])
    catalog = installed(output)
    if arguments.probe:
        output.note(PROBING)
    machine = this_machine()
    seen = {name: as_seen_by(name, machine, catalog.scan.distributions) for name in FRAMEWORKS}
    rows = list(_rows(catalog, framework, seen, probing=arguments.probe))
    if output.as_json:
        devices = {name: devices_of(seen[name]) for name in FRAMEWORKS if framework in (None, name)}
        output.document("backends", {"devices": devices, "backends": [row.described() for row in rows]})
        return FINE
    _print(rows, seen, output)
    if not rows:
        whose = f" for {framework}" if framework else ""
        runtimes = f"{framework}-runtime" if framework else "flax-runtime, or torch-runtime"
        output.note(f"No installed plugin declares a backend{whose}. Run: pip install {runtimes}")
    elif any(row.reason is None and row.table.probe and not row.probed for row in rows):
        output.note(UNASKED)
    return FINE


def declared(table: BackendTable) -> dict[str, Any]:
    """What a manifest says of a backend, for JSON."""
    return {
        "kind": table.kind,
        "summary": table.summary,
        "implementation": table.implementation,
        "devices": list(table.devices),
        "dtypes": list(table.dtypes),
        "min_capability": table.min_capability,
        "supports": list(table.supports),
        "max_head_size": table.max_head_size,
        "head_size_multiple": table.head_size_multiple,
        "min_queries": table.min_queries,
        "priority": table.priority,
        "requires": list(table.requires),
        "probe": table.probe,
    }


def devices_of(machine: Machine) -> dict[str, Any]:
    """Kinds of device that a framework can use, and why not others, for JSON."""
    return {"usable": list(machine.devices), "absent": dict(machine.absent)}


def _rows(catalog: Catalog, framework: str | None, seen: dict[str, Machine], *, probing: bool) -> Iterator[Row]:
    for plugin, table in catalog.backends(framework):
        machine = seen[table.framework]
        capability = cuda_capability() if "cuda" in machine.devices else None
        reason = unavailable(plugin, table, catalog, machine, capability)
        probed = probing and reason is None and table.probe is not None
        if probed and table.probe is not None:
            device = next(kind for kind in machine.devices if kind in table.devices)
            here = Situation(
                framework=table.framework, device=device, capability=capability if device == "cuda" else None
            )
            reason = probed_apart(table.probe, plugin, here)
        yield Row(plugin=plugin, table=table, reason=reason, probed=probed)


def _print(rows: list[Row], seen: dict[str, Machine], output: Output) -> None:
    """A table for each framework and kind."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.table.framework, row.table.kind)):
        groups.setdefault((row.table.framework, row.table.kind), []).append(row)
    for number, ((framework, kind), group) in enumerate(groups.items()):
        if number:
            output.line()
        devices = " ".join(seen[framework].devices) or "none"
        output.line(f"{kind} in {framework} (devices here: {devices})")
        output.table(_ATTENTION_HEADERS if kind == ATTENTION else _EXECUTION_HEADERS, [row.cells() for row in group])


def _is_limited(kind: str, table: BackendTable) -> bool:
    return kind == "cuda" and table.min_capability > 0
