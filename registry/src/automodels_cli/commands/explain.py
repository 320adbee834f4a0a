"""`registry explain NAME`: which class would be loaded, why, and why no other. No plugin is imported for it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from automodels import resolve
from automodels.errors import AutomodelsError
from automodels.plugins.resolve import Candidate, Resolution
from automodels_cli.exit_codes import FINE
from automodels_cli.logs import log_to
from automodels_cli.output import Output

HEADERS = ("PLUGIN", "VERSION", "FRAMEWORK", "LOCATION", "VERDICT")


def run(arguments: Namespace, output: Output) -> int:
    """Prints the decision with every candidate; an error is raised after its trace was printed."""
    log_to(output)
    try:
        found = resolve(arguments.name, task=arguments.task, framework=arguments.framework, plugin=arguments.plugin)
    except AutomodelsError as error:
        if not output.as_json:
            for line in error.trace:
                output.line(line)
        raise
    if output.as_json:
        output.document("explain", _described(arguments.name, found))
    else:
        _print(found, output)
    return FINE


def _print(found: Resolution, output: Output) -> None:
    entry = found.entry
    output.line(f"{entry.task} for {entry.model_type}: {entry.plugin.name} {entry.plugin.version} ({entry.framework})")
    output.fields(
        [
            ("because", found.reason),
            ("model", _reference(entry.model)),
            ("config", _reference(entry.config)),
            ("from", ("editable, " if entry.plugin.editable else "") + entry.plugin.location),
            *(("note", note) for note in found.notes),
        ]
    )
    output.line()
    output.table(HEADERS, [_cells(candidate) for candidate in found.candidates])


def _cells(candidate: Candidate) -> tuple[str, ...]:
    plugin = candidate.entry.plugin
    verdict = f"rejected: {candidate.rejection}" if candidate.rejection else "accepted"
    return plugin.name, plugin.version, candidate.entry.framework, plugin.location, verdict


def _described(name: str, found: Resolution) -> dict[str, Any]:
    entry = found.entry
    return {
        "name": name,
        "model_type": entry.model_type,
        "task": entry.task,
        "framework": entry.framework,
        "plugin": entry.plugin.name,
        "version": entry.plugin.version,
        "location": entry.plugin.location,
        "model": _reference(entry.model),
        "config": _reference(entry.config),
        "reason": found.reason,
        "notes": list(found.notes),
        "candidates": [_candidate(candidate) for candidate in found.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    entry = candidate.entry
    return {
        "plugin": entry.plugin.name,
        "version": entry.plugin.version,
        "location": entry.plugin.location,
        "framework": entry.framework,
        "model": _reference(entry.model),
        "accepted": candidate.rejection is None,
        "rejection": candidate.rejection,
    }


def _reference(target: str | type) -> str:
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"
