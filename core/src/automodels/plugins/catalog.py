"""The catalog: every installed plugin, what it offers, and why it may not be used. Nothing is imported to make it.

sys.path → scan → entry points → manifests → plugins (with their state) → entries
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from automodels.errors import nearest
from automodels.plugins.entries import Entry, Plugin
from automodels.plugins.judge import judged_entry, judged_plugins, with_required
from automodels.plugins.problems import Problem
from automodels.plugins.registration import registered_entries
from automodels.plugins.requirements import unmet
from automodels.plugins.scan import Scan, scan, shown
from automodels.plugins.settings import Settings, current_settings, unknown_variables, variable_part
from automodels.plugins.tables import BackendTable

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
    def _by_model_type(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.model_type, []).append(entry)
        return found

    def entries_of(self, model_type: str) -> tuple[Entry, ...]:
        """Every entry of one model type, in the order of `entries`."""
        return tuple(self._by_model_type.get(model_type, ()))

    @cached_property
    def model_types(self) -> tuple[str, ...]:
        return tuple(sorted({entry.model_type for entry in self.entries}))

    @cached_property
    def tasks(self) -> Mapping[str, str]:
        """Task → name of its auto class: the standard ones, and those that usable plugins declare without conflict."""
        declared = {
            (table.name, table.auto_class)
            for plugin in self.plugins
            if plugin.state == "ok" and plugin.manifest is not None
            for table in plugin.manifest.tasks
        }
        pairs = declared | set(STANDARD_TASKS.items())
        names = Counter(name for name, _ in pairs) + Counter(auto_class for _, auto_class in pairs)
        return {
            **STANDARD_TASKS,
            **{name: auto_class for name, auto_class in sorted(declared) if names[name] == names[auto_class] == 1},
        }

    def task_conflicts(self) -> list[str]:
        """Tasks that plugins declare differently; none of them counts, so that no plugin wins by its name."""
        return [
            f"{plugin.name} declares the task {table.name!r} with {table.auto_class}; others say otherwise"
            for plugin in self.plugins
            if plugin.state == "ok" and plugin.manifest is not None
            for table in plugin.manifest.tasks
            if self.tasks.get(table.name) != table.auto_class
        ]

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
    inherit = settings is None  # other settings than those in force: no variable counts
    settings = current_settings() if settings is None else settings
    found = _scan(sys.path if path is None else path)
    settings = with_required(settings, found)
    catalog = Catalog(
        plugins=judged_plugins(found, settings),
        scan=found,
        settings=settings,
        registered=tuple(judged_entry(entry, settings) for entry in registered_entries(inherit=inherit)),
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


def _warnings(catalog: Catalog) -> tuple[Problem, ...]:
    """Names in the settings that mean nothing here: misspelt, or not installed."""
    settings = catalog.settings
    known = {plugin.name for plugin in catalog.plugins} | {entry.plugin.name for entry in catalog.registered}
    messages = [*unknown_variables(), *catalog.task_conflicts()]
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
