"""Backends: what installed plugins declare, what can run on this machine, and the choice.

Devices are read off the system without a framework: a driver's files say that a GPU is there, and nothing initialises
it. What a framework itself sees may be narrower (a jaxlib without CUDA), so a runtime passes its own list.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from automodels.errors import BackendUnavailableError, nearest
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.manifest import BackendTable
from automodels.plugins.scan import shown


@dataclass(frozen=True, kw_only=True)
class BackendCandidate:
    """A declared backend, and why it was not taken."""

    plugin: Plugin
    table: BackendTable
    rejection: str | None = None

    def __str__(self) -> str:
        verdict = f"rejected: {self.rejection}" if self.rejection else "accepted"
        return f"{self.table.name} of {self.plugin.name} {self.plugin.version}: {verdict}"


@dataclass(frozen=True, kw_only=True)
class BackendReport:
    """The backend that was chosen, and every other one with the reason."""

    name: str
    chosen: BackendCandidate
    candidates: tuple[BackendCandidate, ...]

    def __str__(self) -> str:
        return "\n".join([f"backend {self.name} of {self.chosen.plugin.name}", *map(str, self.candidates)])


def visible_devices() -> tuple[str, ...]:
    """Kinds of device that this machine seems to have, the fastest first; `cpu` is always among them."""
    found = ["cpu"]
    if os.path.exists("/dev/kfd"):
        found.insert(0, "rocm")
    if os.path.exists("/dev/nvidiactl") and os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() not in ("", "-1"):
        found.insert(0, "cuda")
    return tuple(found)


def unavailable(
    plugin: Plugin,
    table: BackendTable,
    catalog: Catalog,
    devices: Collection[str] | None = None,
    capability: int | None = None,
) -> str | None:
    """Why a declared backend cannot run here, or None.

    `devices` are those that the framework sees, `capability` the CUDA compute capability, times ten, if it is known.
    """
    if plugin.state != "ok":
        return plugin.fatal.message if plugin.fatal else f"the plugin is {plugin.state}"
    if (reason := catalog.unmet(table.requires)) is not None:
        return reason
    devices = visible_devices() if devices is None else devices
    if not set(table.devices) & set(devices):
        return f"runs on {', '.join(table.devices)}; here is {', '.join(devices)}"
    if capability is not None and capability < table.min_capability:
        return f"needs compute capability {table.min_capability / 10}; this device has {capability / 10}"
    return None


def choose_backend(
    catalog: Catalog,
    framework: str,
    asked: str = "auto",
    *,
    dtype: str | None = None,
    devices: Collection[str],
    capability: int | None = None,
) -> BackendReport:
    """The backend asked for, or with `auto` the one of highest priority that can run here.

    `dtype` is that of the computation, `devices` the kinds that the framework computes on, `capability` as above.
    Raises BackendUnavailableError with every reason; a backend asked for by name is never replaced by another one.
    """
    candidates = []
    for plugin, table in catalog.backends(framework):
        reason = unavailable(plugin, table, catalog, devices, capability)
        if reason is None and dtype is not None and table.dtypes and dtype not in table.dtypes:
            reason = f"computes in {', '.join(table.dtypes)}, not in {dtype}"
        if reason is None and asked not in ("auto", table.name):
            reason = f"{asked} was asked for"
        candidates.append(BackendCandidate(plugin=plugin, table=table, rejection=reason))
    accepted = [candidate for candidate in candidates if candidate.rejection is None]
    if not accepted:
        raise _none_left(framework, asked, candidates)
    rivals = [found for found in accepted if found.table.name == accepted[0].table.name]
    if len(rivals) > 1:
        names = ", ".join(str(rival.plugin) for rival in rivals)
        raise BackendUnavailableError(
            f"The {framework} backend {rivals[0].table.name!r} is declared by several plugins: {names}.",
            hints=[f"Disable all but one: AUTOMODELS_DISABLE={rivals[-1].plugin.name}"],
            trace=[str(candidate) for candidate in candidates],
        )
    return BackendReport(name=accepted[0].table.name, chosen=accepted[0], candidates=tuple(candidates))


def _none_left(framework: str, asked: str, candidates: list[BackendCandidate]) -> BackendUnavailableError:
    names = sorted({candidate.table.name for candidate in candidates})
    if asked != "auto" and asked not in names:
        guess = nearest(asked, names)
        message = f"No installed plugin declares a {framework} backend {shown(asked)}"
        message += f"; did you mean {guess!r}?" if guess else f"; declared: {', '.join(names) or 'none'}."
    else:
        relevant = [found for found in candidates if asked in ("auto", found.table.name)]
        message = "\n".join(
            [f"No {framework} backend can run here ({asked}):", *(f"    {found}" for found in relevant)]
        )
    return BackendUnavailableError(
        message, hints=["Run: registry backends"], trace=[str(found) for found in candidates]
    )
