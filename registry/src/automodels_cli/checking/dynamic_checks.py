"""Checks that run code of the plugin: each in a process of its own, and only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from automodels.plugins.entries import Plugin
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.child import DONE, Outcome, run_apart
from automodels_cli.checking.codes import MEANINGS, note, problem
from automodels_cli.checking.references import references
from automodels_cli.findings import Finding
from automodels_cli.output import Output


def dynamic_findings(candidate: Candidate, steps: Sequence[str], *, timeout: int, output: Output) -> Iterator[Finding]:
    """What importing and running the plugin shows. One that may not be used is not run."""
    for plugin in candidate.plugins:
        if plugin.manifest is None or plugin.state not in ("ok", "empty"):
            message = f"not imported, because it is {plugin.state}: put right what is wrong with it first"
            yield note("C403", plugin.name, message)
            continue
        first = {"first": [*candidate.path], "plugin": plugin.name}
        if "imports" in steps:
            output.note(f"importing {plugin.name} …")
            yield from _imports(plugin, first, timeout)
        if "run" in steps:
            yield from _runs(plugin, first, timeout, output)


def _imports(plugin: Plugin, first: dict[str, Any], timeout: int) -> Iterator[Finding]:
    assert plugin.manifest is not None
    modules = dict.fromkeys(each.module for each in references(plugin.manifest) if each.is_light)
    if modules:
        outcome = run_apart("firewall", {**first, "modules": list(modules)}, timeout=timeout)
        yield from _findings(outcome, plugin, f"importing {', '.join(modules)}")
    yield from _findings(run_apart("imports", first, timeout=timeout), plugin, "importing what the manifest names")


def _runs(plugin: Plugin, first: dict[str, Any], timeout: int, output: Output) -> Iterator[Finding]:
    assert plugin.manifest is not None
    for table in plugin.manifest.models:
        what = f"{table.model_type} in {table.framework}"
        if not table.example:
            yield note("C403", plugin.name, f"{what} was not run: it has no [model.example]")
            continue
        asked = {"model_type": table.model_type, "framework": table.framework, "example": dict(table.example)}
        for task in table.tasks:
            output.note(f"running {task} of {what} …")
            outcome = run_apart("model", {**first, **asked, "task": task}, timeout=timeout)
            yield from _findings(outcome, plugin, f"running {task} of {what}")


def _findings(outcome: Outcome, plugin: Plugin, doing: str) -> Iterator[Finding]:
    for report in outcome.reports:
        kind, message = report.get("kind"), report.get("message")
        if kind == DONE or kind not in MEANINGS or not isinstance(message, str):
            continue
        make = note if report.get("note") is True else problem
        yield make(kind, plugin.name, message)
    if outcome.ended:
        yield problem("C303", plugin.name, f"{doing}: the process {outcome.ended}")
