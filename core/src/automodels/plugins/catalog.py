"""The catalog: every installed plugin, what it offers, and why it may not be used. Nothing is imported to make it.

sys.path → scan → entry points → manifests → plugins (with their state) → entries
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from automodels.errors import nearest
from automodels.plugins.entries import FIRST_PARTY, Entry, Plugin
from automodels.plugins.manifest import NAME, BackendTable, Manifest, read_manifest
from automodels.plugins.package_files import contained, is_editable, package_directory
from automodels.plugins.problems import Problem
from automodels.plugins.registration import registered_entries
from automodels.plugins.requirements import admits, unmet
from automodels.plugins.scan import Distribution, EntryPoint, Scan, normalized, printable, scan, shown
from automodels.plugins.settings import Settings, current_settings, unknown_variables, variable_part

PLUGIN_API = "1.0"
STANDARD_TASKS = {
    "base": "AutoModel",
    "pretraining": "AutoModelForPreTraining",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
    "next-sentence-prediction": "AutoModelForNextSentencePrediction",
    "sequence-classification": "AutoModelForSequenceClassification",
    "multiple-choice": "AutoModelForMultipleChoice",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "sentence-embedding": "AutoModelForSentenceEmbedding",
}
_POINT = re.compile(r"(?P<package>[A-Za-z_]\w*)\s*:\s*(?P<file>[^\x00-\x1f\x7f]{1,200})", re.ASCII)


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalog:
    """All plugins and their entries at one moment, under one set of settings."""

    plugins: tuple[Plugin, ...]
    """By name."""

    scan: Scan
    settings: Settings
    warnings: tuple[Problem, ...] = ()
    """What is wrong with the settings."""

    registered: tuple[Entry, ...] = ()
    """Entries registered at run time."""

    _requirements: dict[str, str | None] = field(default_factory=dict)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry of every readable plugin, disabled and incompatible ones included."""
        return (
            *(
                Entry(
                    plugin=plugin,
                    model_type=model.model_type,
                    task=task,
                    framework=model.framework,
                    config=model.config,
                    model=reference,
                    requires=model.requires,
                    architectures=model.architectures,
                )
                for plugin in self.plugins
                if plugin.manifest is not None
                for model in plugin.manifest.models
                for task, reference in model.tasks.items()
            ),
            *self.registered,
        )

    @cached_property
    def model_types(self) -> tuple[str, ...]:
        return tuple(sorted({entry.model_type for entry in self.entries}))

    @cached_property
    def tasks(self) -> Mapping[str, str]:
        """Task → name of its auto class: the standard ones and those that usable plugins declare."""
        tasks = dict(STANDARD_TASKS)
        for plugin in self.plugins:
            if plugin.state == "ok" and plugin.manifest is not None:
                for table in plugin.manifest.tasks:
                    tasks.setdefault(table.name, table.auto_class)
        return tasks

    def plugin(self, name: str) -> Plugin | None:
        """The plugin of this name; the first by version and place when a broken installation has several."""
        return next((plugin for plugin in self.plugins if plugin.name == name), None)

    def backends(self, framework: str | None = None) -> tuple[tuple[Plugin, BackendTable], ...]:
        """Backends that readable plugins declare, the highest priority first."""
        found = [
            (plugin, table)
            for plugin in self.plugins
            if plugin.manifest is not None
            for table in plugin.manifest.backends
            if framework in (None, table.framework)
        ]
        return tuple(sorted(found, key=lambda pair: (pair[1].framework, -pair[1].priority, pair[1].name)))

    def unmet(self, requires: Sequence[str]) -> str | None:
        """Why one of the requirements does not hold here, or None."""
        for requirement in requires:
            if requirement not in self._requirements:
                try:
                    self._requirements[requirement] = unmet(requirement, self.scan.distributions)
                except ValueError:
                    self._requirements[requirement] = f"{shown(requirement)} is not a requirement"
            if (reason := self._requirements[requirement]) is not None:
                return reason
        return None


def load_catalog(path: Sequence[str] | None = None, settings: Settings | None = None) -> Catalog:
    """The catalog of what is installed on `path` (default `sys.path`) under `settings` (default: those in force)."""
    settings = current_settings() if settings is None else settings
    found = _scan(sys.path if path is None else path)
    plugins = [_plugin(point, found, settings) for point in found.entry_points]
    plugins += [_unreadable(distribution, settings) for distribution in found.unreadable]
    plugins = _without_name_clashes(plugins)
    plugins.sort(key=lambda plugin: (plugin.name, plugin.version, plugin.location))
    catalog = Catalog(
        plugins=tuple(plugins),
        scan=found,
        settings=settings,
        registered=tuple(_under(settings, entry) for entry in registered_entries()),
    )
    return replace(catalog, warnings=_warnings(catalog))


_scans: dict[tuple[tuple[str, int], ...], Scan] = {}
_SETTLED = 100_000_000  # nanoseconds: file systems stamp changes with a clock that ticks every few milliseconds


def _scan(path: Sequence[str]) -> Scan:
    """`scan(path)`, kept as long as no directory on the path changes (an installation changes one)."""
    now = time.time_ns()
    stamp = tuple((entry, _modified(entry)) for entry in path)
    kept = _scans.get(stamp)
    if kept is not None:
        return kept
    found = scan(path)
    _scans.clear()
    if all(modified < now - _SETTLED for _, modified in stamp):  # otherwise it may change again within the same tick
        _scans[stamp] = found
    return found


def _modified(directory: str) -> int:
    try:
        return os.stat(os.path.abspath(directory)).st_mtime_ns
    except (OSError, ValueError, TypeError):  # the scan passes it by
        return 0


def _plugin(point: EntryPoint, found: Scan, settings: Settings) -> Plugin:
    """Reads the manifest of an entry point and judges it."""
    distribution = point.distribution
    location, manifest, problems = _read(point)
    name = manifest.name if manifest else point.name if NAME.fullmatch(point.name) else shown(point.name)
    if manifest is not None:
        problems = (*problems, *_judge(manifest, point, found))
    return Plugin(
        name=name,
        version=distribution.version,
        location=printable(location),
        editable=is_editable(distribution),
        manifest=manifest,
        problems=(*_disabled(name, distribution.normalized, settings), *problems),
    )


def _read(point: EntryPoint) -> tuple[str, Manifest | None, tuple[Problem, ...]]:
    match = _POINT.fullmatch(point.value)
    if match is None:
        message = f"the entry point {shown(point.name)} is {shown(point.value)}, not 'package:file.toml'"
        return point.distribution.metadata, None, (Problem(code="P102", message=message),)
    directory = package_directory(point.distribution, match["package"])
    if directory is None:
        message = f"the package {match['package']} of the entry point {shown(point.name)} is not there"
        return point.distribution.metadata, None, (Problem(code="P103", message=message),)
    file = contained(directory, match["file"])
    if file is None:
        message = f"{shown(match['file'])} leaves the package {match['package']}"
        return directory, None, (Problem(code="P207", message=message),)
    return directory, *read_manifest(file)


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
    if name in settings.deny:
        return (Problem(code="P302", message="disabled by AUTOMODELS_DISABLE or policy(deny=...)"),)
    if settings.allow is not None and name not in settings.allow:
        return (Problem(code="P302", message="not in AUTOMODELS_PLUGINS or policy(allow=...)"),)
    if settings.safe_mode and owner not in FIRST_PARTY:
        return (Problem(code="P302", message="safe mode admits first-party plugins only"),)
    return ()


def _under(settings: Settings, entry: Entry) -> Entry:
    """A registered entry, judged like that of an installed plugin."""
    problems = _disabled(entry.plugin.name, "", settings)
    return replace(entry, plugin=replace(entry.plugin, problems=problems)) if problems else entry


def _unreadable(distribution: Distribution, settings: Settings) -> Plugin:
    fatal = (problem for problem in distribution.problems if problem.fatal)
    return Plugin(
        name=distribution.normalized,
        version=distribution.version,
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


def _warnings(catalog: Catalog) -> tuple[Problem, ...]:
    """Names in the settings that mean nothing here: misspelt, or not installed."""
    settings = catalog.settings
    known = {plugin.name for plugin in catalog.plugins} | {entry.plugin.name for entry in catalog.registered}
    messages = unknown_variables()
    for name, source in settings.named_plugins():
        if name not in known:
            guess = nearest(name, known)
            hint = f"; did you mean {guess!r}?" if guess else ""
            messages.append(f"{source} names {shown(name)}, which is not an installed plugin{hint}")
    if settings.pins:
        offered = {variable_part(model_type) for model_type in catalog.model_types}
        messages += [
            f"{decision.source} is for the model type {shown(model_type)}, which no installed plugin offers"
            for model_type, decision in settings.pins
            if model_type not in offered
        ]
    return tuple(Problem(code="P303", message=message, fatal=False) for message in dict.fromkeys(messages))
