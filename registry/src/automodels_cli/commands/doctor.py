"""`registry doctor`: what is installed here, what is in force, and what is wrong. It answers whatever is broken."""

from __future__ import annotations

import platform
from argparse import Namespace
from typing import Any

from automodels import __version__
from automodels.backends import as_seen_by, this_machine
from automodels.errors import InputError
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.judge import PLUGIN_API
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.settings import Settings
from automodels_cli.caches import Cache, cache_findings, caches
from automodels_cli.commands.backends import devices_of
from automodels_cli.exit_codes import ATTENTION, FINE
from automodels_cli.findings import Finding, findings
from automodels_cli.output import Output
from automodels_cli.status import plugin_status

LIBRARIES = ("jax", "jaxlib", "flax", "torch", "numpy", "tokenizers", "safetensors", "huggingface-hub")


def run(arguments: Namespace, output: Output) -> int:
    """Prints what there is, then every problem; exit code 1 when there is one."""
    catalog, found = _examined()
    kept = caches()
    found = sorted([*found, *cache_findings(kept)], key=lambda finding: not finding.problem)
    problems = [finding for finding in found if finding.problem]
    facts = {**_facts(catalog), "caches": [cache.described() for cache in kept]}
    if output.as_json:
        content = {"ok": not problems, **facts, "findings": [finding.described() for finding in found]}
        output.document("doctor", content)
    else:
        _print(facts, found, kept, output)
    return ATTENTION if problems else FINE


def _examined() -> tuple[Catalog, list[Finding]]:
    """The catalog, with the default settings when those in force cannot be read."""
    try:
        catalog = load_catalog()
    except InputError as error:
        catalog = load_catalog(settings=Settings())
        broken = Finding(
            problem=True, subject="settings", message=error.message, code=error.code, remedy=_remedy(error)
        )
        return catalog, [broken, *findings(catalog)]
    return catalog, findings(catalog)


def _remedy(error: InputError) -> str | None:
    return " ".join(error.hints) or None


def _facts(catalog: Catalog) -> dict[str, Any]:
    settings, installed, machine = catalog.settings, catalog.scan.distributions, this_machine()
    seen = {name: as_seen_by(name, machine, installed) for name in FRAMEWORKS}
    return {
        "automodels": __version__,
        "plugin_api": PLUGIN_API,
        "python": platform.python_version(),
        "distributions": len(installed),
        "libraries": {name: installed[name].version for name in LIBRARIES if name in installed},
        "devices": list(machine.devices),
        "frameworks": {name: devices_of(found) for name, found in seen.items()},
        "settings": {
            "allow": None if settings.allow is None else list(settings.allow),
            "deny": list(settings.deny),
            "safe_mode": settings.safe_mode,
            "strict": settings.strict,
            "framework": settings.framework,
            "project_file": settings.project_file,
            "lock": settings.lock,
            "pins": [{"model_type": name, "plugin": pin.plugin, "source": pin.source} for name, pin in settings.pins],
        },
        "plugins": [
            {
                "name": plugin.name,
                "version": plugin.version,
                "location": plugin.location,
                "editable": plugin.editable,
                **plugin_status(plugin).described(),
            }
            for plugin in catalog.plugins
        ],
    }


def _print(facts: dict[str, Any], found: list[Finding], kept: list[Cache], output: Output) -> None:
    settings, plugins = facts["settings"], facts["plugins"]
    states = [plugin["status"] for plugin in plugins]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    output.line(f"automodels {facts['automodels']}")
    output.fields(
        [
            ("plugin API", facts["plugin_api"]),
            ("Python", facts["python"]),
            ("distributions", f"{facts['distributions']} scanned"),
            ("plugins", f"{len(plugins)}: {counts}" if plugins else "none"),
            ("libraries", ", ".join(f"{name} {version}" for name, version in facts["libraries"].items()) or "none"),
            ("devices", ", ".join(facts["devices"])),
            *_unused(facts),
            *((f"{cache.name} cache", str(cache)) for cache in kept),
            ("only plugins", "none" if settings["allow"] == [] else ", ".join(settings["allow"] or ())),
            ("never plugins", ", ".join(settings["deny"])),
            ("safe mode", "on" if settings["safe_mode"] else ""),
            ("strict mode", "on" if settings["strict"] else ""),
            ("framework", settings["framework"] or ""),
            ("project file", settings["project_file"] or ""),
            ("lock file", settings["lock"] or ""),
            *(("pin", f"{pin['model_type']} = {pin['plugin']} ({pin['source']})") for pin in settings["pins"]),
        ]
    )
    problems = [finding for finding in found if finding.problem]
    notes = [finding for finding in found if not finding.problem]
    for title, group in (("problems", problems), ("notes", notes)):
        if group:
            output.line()
            output.line(title)
            output.fields([(finding.subject, str(finding)) for finding in group])
    output.line()
    output.line(f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found.")


def _unused(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Devices that are there, and an installed framework cannot use; why others are not there, --json tells."""
    return [
        (f"not for {name}", f"{kind}: {found['absent'][kind]}")
        for name, found in facts["frameworks"].items()
        for kind in facts["devices"]
        if found["usable"] and kind in found["absent"]
    ]
