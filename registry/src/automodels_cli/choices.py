"""Which backend a checkpoint would get here, told without importing a framework.

checkpoint → config.json → entry of each framework → config → its needs → choice for the framework's fastest device
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automodels.backends import (
    AUTO,
    AttentionNeeds,
    BackendCandidate,
    BackendReport,
    Situation,
    as_seen_by,
    choose_backend,
    cuda_capability,
    this_machine,
)
from automodels.checkpoint.locate import Location, split_options
from automodels.config import PretrainedConfig
from automodels.errors import AutomodelsError, BackendUnavailableError, InputError, PluginError, nearest
from automodels.loading import config_class_of, config_of, decide, read_checkpoint
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Entry
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.scan import shown
from automodels_cli.commands.backends import PROBING, UNASKED
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import installed
from automodels_cli.logs import log_to
from automodels_cli.output import Output

DTYPES = ("float32", "bfloat16", "float16", "float64")
OLD_ENDINGS = {"causal-lm": "LMHeadModel"}  # of transformers' first classes, such as GPT2LMHeadModel
_HEADERS = ("BACKEND", "KIND", "PLUGIN", "PRIORITY", "VERDICT")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one framework would do with a checkpoint."""

    framework: str
    entry: Entry | None = None
    report: BackendReport | None = None
    error: AutomodelsError | None = None
    """Why there is no report."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What backends are chosen for."""

    name: str
    raw: Mapping[str, Any]
    location: Location | None
    """None for a model type, whose family's own config counts."""

    def config(self, resolution: Any) -> PretrainedConfig:
        if self.location is None:
            return config_class_of(self.raw["model_type"])()
        return config_of(resolution, self.raw, self.location)


def print_choices(arguments: Namespace, framework: str | None, output: Output) -> int:
    """Prints the choice of each framework that offers the model.

    What speaks against one of several frameworks is printed; when every one fails, the first error is raised.
    """
    log_to(output)
    if output.as_json:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # huggingface_hub draws bars of its own
    dtype = _checked_dtype(arguments.dtype)
    catalog = installed(output)
    if arguments.probe:
        output.note(PROBING)
    subject = _subject(arguments, catalog)
    frameworks = _frameworks(catalog, subject.raw["model_type"], _asked(arguments))
    asked: list[str | None] = [framework] if framework else [*frameworks] or [None]
    choices = [_choice(each, subject, arguments, dtype, catalog) for each in asked]
    errors = [choice.error for choice in choices if choice.error is not None]
    if len(errors) == len(choices):
        raise errors[0]
    if output.as_json:
        content = {"name": subject.name, "model_type": subject.raw["model_type"], "asked": _asked(arguments)}
        output.document("backend-choices", {**content, "choices": [_described(choice) for choice in choices]})
    else:
        _print(subject, choices, output)
    return FINE


def _asked(arguments: Namespace) -> str:
    return AUTO if arguments.backend is None else str(arguments.backend)


def _checked_dtype(name: str | None) -> str:
    if name is None or name in DTYPES:
        return name or DTYPES[0]
    guess = nearest(name, DTYPES)
    hints = [f"Did you mean {guess!r}?"] if guess else []
    raise InputError(f"--dtype is {shown(name)}, not one of {', '.join(DTYPES)}.", hints=hints)


def _subject(arguments: Namespace, catalog: Catalog) -> Subject:
    """The checkpoint, of which only the config is fetched; or a model type."""
    name: str = arguments.model
    if name in catalog.model_types and not os.path.isdir(name):
        return Subject(name=name, raw={"model_type": name}, location=None)
    options, _ = split_options(vars(arguments))
    location, raw, _ = read_checkpoint(name, options)
    return Subject(name=name, raw=raw, location=location)


def _frameworks(catalog: Catalog, model_type: str, asked: str) -> list[str]:
    """Frameworks that offer a model type; where backends are named, those that have all the names, if any has."""
    offering = {entry.framework for entry in catalog.entries if entry.model_type == model_type}
    names = set(asked.split("+")) - {AUTO}
    having = [name for name in FRAMEWORKS if names <= {table.name for _, table in catalog.backends(name)}]
    return [name for name in FRAMEWORKS if name in offering.intersection(having or FRAMEWORKS)]


def _choice(framework: str | None, subject: Subject, arguments: Namespace, dtype: str, catalog: Catalog) -> Choice:
    entry = None
    try:
        task = arguments.task or _task(subject.raw, framework, catalog)
        resolution = decide(subject.raw, task, framework, arguments.plugin, source=subject.name)
        entry = resolution.entry
        needs = _needs(subject.config(resolution), entry)
        report = _report(entry.framework, needs, arguments, dtype, catalog)
        return Choice(framework=entry.framework, entry=entry, report=report)
    except AutomodelsError as error:
        return Choice(framework=framework or "", entry=entry, error=error)


def _task(raw: Mapping[str, Any], framework: str | None, catalog: Catalog) -> str:
    """The task of the checkpoint's architectures, such as `causal-lm` of `OPTForCausalLM`, where it is offered.

    A class of that name says it; else the ending, which is that of the task's auto class, or an old one.
    """
    entries = [
        entry
        for entry in catalog.entries
        if entry.model_type == raw["model_type"] and framework in (None, entry.framework)
    ]
    named = raw.get("architectures")
    architectures = [each for each in named if isinstance(each, str)] if isinstance(named, list) else []
    for architecture in architectures:
        for entry in entries:
            if _class_name(entry).removeprefix("Flax") == architecture.removeprefix("Flax"):
                return entry.task
    for architecture in architectures:
        for entry in entries:
            suffixes = (catalog.tasks.get(entry.task, "").removeprefix("AutoModel"), OLD_ENDINGS.get(entry.task, ""))
            if any(suffix and architecture.endswith(suffix) for suffix in suffixes):
                return entry.task
    found = [entry.task for entry in entries]
    return "base" if "base" in found or not found else found[0]


def _class_name(entry: Entry) -> str:
    name = entry.model.__qualname__ if isinstance(entry.model, type) else entry.model.rpartition(":")[2]
    return name.rpartition(".")[2]


def _needs(config: PretrainedConfig, entry: Entry) -> AttentionNeeds:
    try:
        needs: object = config.attention_needs
    except Exception as error:  # foreign code
        raise _tells_nothing(config, entry, f"{type(error).__name__}: {error}") from error
    if not isinstance(needs, AttentionNeeds):
        raise _tells_nothing(config, entry, f"attention_needs is {shown(needs)}")
    return needs


def _tells_nothing(config: PretrainedConfig, entry: Entry, why: str) -> PluginError:
    message = f"{type(config).__name__} of {entry.plugin} does not tell what it needs: {why}"
    return PluginError(message, hints=[f"Run: registry show {entry.plugin.name}"])


def _report(framework: str, needs: AttentionNeeds, arguments: Namespace, dtype: str, catalog: Catalog) -> BackendReport:
    machine = as_seen_by(framework, this_machine(), catalog.scan.distributions)
    device = arguments.device or next(iter(machine.devices), "cpu")
    if (reason := machine.lacks(device)) is not None:
        usable = ", ".join(machine.devices)
        raise BackendUnavailableError(
            f"{framework} cannot use {shown(device)} here: {reason}.",
            hints=[f"Take one of: {usable}" if usable else "Run: registry doctor"],
        )
    capability = cuda_capability() if device == "cuda" else None
    here = Situation(framework=framework, device=device, capability=capability, dtype=dtype, needs=needs)
    asked = _asked(arguments)
    return choose_backend(catalog, asked, here, machine=machine, probing=arguments.probe, apart=True)


def _print(subject: Subject, choices: list[Choice], output: Output) -> None:
    whose = "" if subject.location else ", with its family's own config"
    output.line(f"{subject.name}: model type {subject.raw['model_type']}{whose}")
    for choice in choices:
        output.line()
        if choice.report is None:
            output.line(f"{choice.framework}: {choice.error.message if choice.error else ''}")
        else:
            _print_report(choice, choice.report, output)
    taken = [part for choice in choices if choice.report for part in _chosen(choice.report)]
    if any(candidate.is_unasked for candidate in taken):
        output.note(UNASKED)


def _print_report(choice: Choice, report: BackendReport, output: Output) -> None:
    entry, needs, here = choice.entry, report.situation.needs, report.situation
    output.line(f"{choice.framework}: {report.spec} on {here}")
    output.fields(
        [
            ("plugin", f"{entry.plugin.name} {entry.plugin.version}" if entry else ""),
            ("task", entry.task if entry else ""),
            ("capability", f"{here.capability / 10}" if here.capability else ""),
            ("heads", f"of {', '.join(map(str, needs.head_sizes))} numbers" if needs and needs.head_sizes else ""),
            ("every call", ", ".join(sorted(needs.always)) if needs else ""),
            ("some calls", ", ".join(sorted(needs.possible)) if needs else ""),
        ]
    )
    output.line()
    chosen = _chosen(report)
    output.table(_HEADERS, [_cells(candidate, candidate in chosen) for candidate in report.candidates])


def _chosen(report: BackendReport) -> list[BackendCandidate]:
    return [candidate for candidate in (report.chosen, report.execution) if candidate is not None]


def _cells(candidate: BackendCandidate, chosen: bool) -> tuple[str, ...]:
    plugin, table = candidate.plugin, candidate.table
    verdict = "chosen" if chosen else "accepted"
    verdict += f" ({candidate.note})" if candidate.note else ""
    if candidate.rejection is not None:
        verdict = f"rejected: {candidate.rejection}"
    return table.name, table.kind, plugin.name, str(table.priority), verdict


def _described(choice: Choice) -> dict[str, Any]:
    entry, report, error = choice.entry, choice.report, choice.error
    found: dict[str, Any] = {
        "framework": choice.framework,
        "task": entry.task if entry else None,
        "plugin": entry.plugin.name if entry else None,
        "version": entry.plugin.version if entry else None,
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
    if report is None:
        return found
    here, needs = report.situation, report.situation.needs or AttentionNeeds()
    return {
        **found,
        "device": here.device,
        "capability": here.capability,
        "dtype": here.dtype,
        "needs": {
            "head_sizes": list(needs.head_sizes),
            "always": sorted(needs.always),
            "possible": sorted(needs.possible),
        },
        "spec": report.spec,
        "attention": report.name,
        "execution": report.execution.table.name if report.execution else None,
        "candidates": [_candidate(candidate, candidate in _chosen(report)) for candidate in report.candidates],
    }


def _candidate(candidate: BackendCandidate, chosen: bool) -> dict[str, Any]:
    return {
        "name": candidate.table.name,
        "kind": candidate.table.kind,
        "plugin": candidate.plugin.name,
        "version": candidate.plugin.version,
        "priority": candidate.table.priority,
        "chosen": chosen,
        "accepted": candidate.rejection is None,
        "rejection": candidate.rejection,
        "note": candidate.note or None,
    }
