"""Judgement: what each installed plugin offers, and why it may not be used.

An entry point becomes a plugin with a state: its manifest is read, then held against its distribution, the plugin API,
and what the user decided. Nothing is imported.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from automodels.plugins.entries import FIRST_PARTY, Entry, Plugin
from automodels.plugins.manifest import NAME, read_manifest
from automodels.plugins.package_files import is_editable, package_directory, required_names
from automodels.plugins.problems import Problem
from automodels.plugins.requirements import admits
from automodels.plugins.scan import Distribution, EntryPoint, Scan, normalized, printable, shown
from automodels.plugins.settings import Settings
from automodels.plugins.tables import Manifest

PLUGIN_API = "1.0"
_POINT = re.compile(r"(?P<package>[A-Za-z_]\w*)\s*:\s*(?P<file>[^\x00-\x1f\x7f]{1,200})", re.ASCII)


def judged_plugins(found: Scan, settings: Settings) -> tuple[Plugin, ...]:
    """Every plugin that a scan found, readable or not, by name."""
    plugins = [_plugin(point, found, settings) for point in found.entry_points]
    plugins += [_unreadable(distribution, settings) for distribution in found.unreadable]
    plugins = _without_name_clashes(plugins)
    return tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.version, plugin.location)))


def with_required(settings: Settings, found: Scan) -> Settings:
    """The settings, allowing also the plugins that an allowed one requires: a model needs its runtime."""
    if settings.allow is None:
        return settings
    by_distribution: dict[str, list[str]] = {}
    for point in found.entry_points:
        by_distribution.setdefault(point.distribution.normalized, []).append(point.name)
    allowed = dict.fromkeys(settings.allow)
    waiting = [name for name, plugins in by_distribution.items() if allowed.keys() & plugins]
    seen = set(waiting)
    while waiting:
        for name in required_names(found.distributions[waiting.pop()]):
            if name in by_distribution and name not in seen:
                seen.add(name)
                waiting.append(name)
                allowed |= dict.fromkeys(by_distribution[name])
    return replace(settings, allow=tuple(allowed))


def _plugin(point: EntryPoint, found: Scan, settings: Settings) -> Plugin:
    """Reads the manifest of an entry point and judges it."""
    distribution = point.distribution
    location, file, manifest, problems = _read(point)
    name = manifest.name if manifest else point.name if NAME.fullmatch(point.name) else shown(point.name)
    if manifest is not None:
        problems = (*problems, *_judge(manifest, point, found))
    return Plugin(
        name=name,
        version=distribution.version,
        distribution=distribution.normalized,
        location=printable(location),
        editable=is_editable(distribution),
        manifest=manifest,
        manifest_file=file,
        problems=(*_disabled(name, distribution.normalized, settings), *problems),
    )


def _read(point: EntryPoint) -> tuple[str, str, Manifest | None, tuple[Problem, ...]]:
    """Directory of the package, path of the manifest, what it says, and what is wrong."""
    match = _POINT.fullmatch(point.value)
    if match is None:
        message = f"the entry point {shown(point.name)} is {shown(point.value)}, not 'package:file.toml'"
        return point.distribution.metadata, "", None, (Problem(code="P102", message=message),)
    directory = package_directory(point.distribution, match["package"])
    if directory is None:
        message = f"the package {match['package']} of the entry point {shown(point.name)} is not there"
        return point.distribution.metadata, "", None, (Problem(code="P103", message=message),)
    # The path is judged as it is written: installers may link every file of a package from a cache of their own.
    if os.path.isabs(match["file"]) or os.pardir in re.split(r"[/\\]", match["file"]):
        message = f"{shown(match['file'])} leaves the package {match['package']}"
        return directory, "", None, (Problem(code="P207", message=message),)
    file = os.path.join(directory, match["file"])
    return directory, file, *read_manifest(file)


def _judge(manifest: Manifest, point: EntryPoint, found: Scan) -> list[Problem]:
    problems = []
    owner = point.distribution.normalized
    if manifest.name != point.name:
        message = f"the entry point is called {shown(point.name)}, the manifest {shown(manifest.name)}"
        problems.append(Problem(code="P208", message=message))
    claimed = normalized(manifest.name)
    if claimed != owner and (claimed in found.distributions or claimed in FIRST_PARTY):
        message = f"{manifest.name} is the name of another distribution; this one is {point.distribution.name}"
        problems.append(Problem(code="P209", message=message))
    if not admits(manifest.api, PLUGIN_API):
        message = f"needs plugin API {manifest.api}; this is {PLUGIN_API}"
        problems.append(Problem(code="P301", message=message))
    return problems


def _disabled(name: str, owner: str, settings: Settings) -> tuple[Problem, ...]:
    """The decision of the user against a plugin, as a problem; empty when there is none."""
    if (denial := settings.denial(name)) is not None:
        return (Problem(code="P302", message=f"disabled by {denial.source}"),)
    if settings.allow is not None and name not in settings.allow:
        return (Problem(code="P302", message="not in AUTOMODELS_PLUGINS or policy(allow=...)"),)
    if settings.safe_mode and owner not in FIRST_PARTY:
        return (Problem(code="P302", message="safe mode admits first-party plugins only"),)
    return ()


def refusal(plugin: Plugin, settings: Settings) -> str | None:
    """Why the user decided against a plugin that was registered at run time; None when nothing speaks against it."""
    return next((problem.message for problem in _disabled(plugin.name, "", settings)), None)


def judged_entry(entry: Entry, settings: Settings) -> Entry:
    """A registered entry, judged like that of an installed plugin."""
    problems = _disabled(entry.plugin.name, "", settings)
    return replace(entry, plugin=replace(entry.plugin, problems=problems)) if problems else entry


def _unreadable(distribution: Distribution, settings: Settings) -> Plugin:
    fatal = (problem for problem in distribution.problems if problem.fatal)
    return Plugin(
        name=distribution.normalized,
        version=distribution.version,
        distribution=distribution.normalized,
        location=printable(distribution.metadata),
        editable=is_editable(distribution),
        manifest=None,
        problems=(*_disabled(distribution.normalized, distribution.normalized, settings), *fatal),
    )


def _without_name_clashes(plugins: list[Plugin]) -> list[Plugin]:
    """Two usable plugins of one name are both broken: neither install order nor the path may choose.

    One that may not be used anyway, for instance because it took another distribution's name, takes nobody down.
    """
    by_name: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        if plugin.fatal is None:
            by_name.setdefault(normalized(plugin.name), []).append(plugin)
    result = []
    for plugin in plugins:
        claimants = by_name.get(normalized(plugin.name), [])
        rivals = [str(rival) for rival in claimants if rival is not plugin]
        if plugin in claimants and rivals:
            problem = Problem(code="P209", message=f"has the same name as {', '.join(rivals)}")
            plugin = replace(plugin, problems=(*plugin.problems, problem))
        result.append(plugin)
    return result
