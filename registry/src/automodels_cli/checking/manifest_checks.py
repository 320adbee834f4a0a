"""Checks of a manifest, beyond those that every listing makes."""

from __future__ import annotations

from collections.abc import Iterator

from automodels.plugins.entries import Plugin
from automodels.plugins.manifest import FRAMEWORKS
from automodels.plugins.requirements import admits, unmet
from automodels.plugins.scan import scan, shown
from automodels.plugins.tables import Manifest
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.codes import note, problem
from automodels_cli.findings import Finding

FAR = "1000000"  # a version that no plugin can have been written for


def manifest_findings(candidate: Candidate) -> Iterator[Finding]:
    """What is wrong with each of its manifests."""
    for plugin in candidate.plugins:
        for each in plugin.problems:
            serious = each.fatal and each.code != "P302"
            yield Finding(problem=serious, subject=plugin.name, message=each.message, code=each.code)
        if plugin.manifest is not None:
            yield from _range(plugin, plugin.manifest)
            yield from _requirements(plugin, plugin.manifest)
            yield from _completeness(plugin, plugin.manifest)


def _range(plugin: Plugin, manifest: Manifest) -> Iterator[Finding]:
    if admits(manifest.api, FAR):
        message = f"api {manifest.api} also admits versions that nobody has seen; end it, as in '>=1.0,<2'"
        yield note("C108", plugin.name, message)


def _requirements(plugin: Plugin, manifest: Manifest) -> Iterator[Finding]:
    installed = scan().distributions
    tables = [(f"requires of {table.model_type}", table.requires) for table in manifest.models]
    tables += [(f"requires of the backend {table.name}", table.requires) for table in manifest.backends]
    for where, requires in tables:
        for requirement in requires:
            try:
                missing = unmet(requirement, installed)
            except ValueError as error:
                said = " ".join(str(error).split())[:120]
                yield problem(
                    "C109", plugin.name, f"{where} has {shown(requirement)}, no requirement (PEP 508): {said}"
                )
                continue
            if missing is not None:
                yield note("C109", plugin.name, f"{where} does not hold here: {missing}")


def _completeness(plugin: Plugin, manifest: Manifest) -> Iterator[Finding]:
    if not manifest.offers:
        yield note("C107", plugin.name, "offers nothing yet")
    if not manifest.summary:
        yield note("C107", plugin.name, "summary is missing: `registry list` and `registry show` have nothing to say")
    for table in manifest.models:
        what = f"{table.model_type} in {table.framework}"
        if not table.example:
            message = f"{what} has no [model.example]: --run and the conformance suite cannot make a tiny model"
            yield note("C110", plugin.name, message)
        if "base" not in table.tasks:
            yield note("C107", plugin.name, f"{what} has no task base: AutoModel will not find it")
        if table.framework not in FRAMEWORKS:
            yield problem("C107", plugin.name, f"{what}: no such framework")
