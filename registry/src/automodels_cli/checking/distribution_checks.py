"""Checks of a distribution: what its metadata says, what would be installed, and whose names it takes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

from automodels.plugins.requirements import admits
from automodels.plugins.scan import scan, shown
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.codes import note, problem
from automodels_cli.findings import Finding
from automodels_cli.scaffold.placeholders import author, description

STRAY = frozenset({"tests", "test", "docs", "doc", "examples", "example", "benchmarks", "scripts", "src", "conftest"})
ENOUGH = {
    "flax": frozenset({"flax-runtime", "flax", "jax"}),
    "torch": frozenset({"torch-runtime", "torch"}),
}
"""Framework → distributions one of which has to be required by a plugin that has models of it."""


def distribution_findings(candidate: Candidate) -> Iterator[Finding]:
    """Everything that can be said without the manifest's references."""
    if not candidate.found.entry_points and not candidate.found.unreadable:
        message = 'no entry point of the group "automodels.plugins": nobody will find the plugin'
        yield problem("C103", candidate.distribution.name, message)
    yield from _metadata(candidate)
    yield from _requirements(candidate)
    yield from _contents(candidate)
    yield from _package_data(candidate)
    yield from _names(candidate)


def _metadata(candidate: Candidate) -> Iterator[Finding]:
    said = candidate.metadata
    for header, meaning in (
        ("summary", "one line that indexes and `pip show` print"),
        ("requires-python", "pip would install it on versions that cannot run it"),
    ):
        if not "".join(said.get(header, [])).strip():
            yield note("C102", header, f"{header} is missing: {meaning}")
    for header in ("name", "version"):
        if len(said.get(header, [])) != 1:
            yield problem("C102", header, f"METADATA has {len(said.get(header, []))} values of {header}, not one")
    if not any(said.get(header) for header in ("license", "license-expression", "license-file", "classifier")):
        yield note("C102", "license", "license is missing: nobody may use the plugin")
    yield from _placeholders(candidate)
    for text in said.get("requires-python", [])[:1]:
        yield from _python(text)


def _placeholders(candidate: Candidate) -> Iterator[Finding]:
    """What `registry new` wrote for the author to replace."""
    models = [table for plugin in candidate.plugins if plugin.manifest for table in plugin.manifest.models]
    kinds = {(table.config.rpartition(":")[2].removesuffix("Config"), table.framework) for table in models}
    for header, subject, written in (
        ("author", "authors", {author(candidate.name)}),
        ("summary", "description", {description(*kind) for kind in kinds}),
    ):
        for text in sorted(written & set(candidate.metadata.get(header, []))):
            yield note("C102", subject, f"{subject} is still what registry new wrote: {shown(text)}")


def _python(text: str) -> Iterator[Finding]:
    running = ".".join(str(part) for part in sys.version_info[:3])
    try:
        fits = text == "said by the build" or admits(text, running)
    except ValueError:
        yield problem("C102", "requires-python", f"requires-python is {shown(text)}, not a range of versions")
        return
    if not fits:
        yield note("C102", "requires-python", f"requires-python {text} leaves out {running}, which runs this check")


def _requirements(candidate: Candidate) -> Iterator[Finding]:
    from packaging.requirements import InvalidRequirement, Requirement

    names = set()
    for text in candidate.metadata.get("requires-dist", []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            said = " ".join(str(error).split())[:120]
            yield problem("C109", "dependencies", f"{shown(text)} is no requirement (PEP 508): {said}")
            continue
        if requirement.marker is None or "extra" not in str(requirement.marker):
            names.add(re.sub(r"[-_.]+", "-", requirement.name).lower())
    for plugin in candidate.plugins:
        if plugin.manifest is None:
            continue
        offered = {table.framework for table in plugin.manifest.models}
        offered |= {table.framework for table in plugin.manifest.backends}
        for framework in sorted(offered & ENOUGH.keys()):
            if not names & ENOUGH[framework] and candidate.distribution.normalized not in ENOUGH[framework]:
                wanted = " or ".join(sorted(ENOUGH[framework]))
                message = f"{framework} is offered, but none of {wanted} is required: nothing would install it"
                yield problem("C104", plugin.name, message)


def _contents(candidate: Candidate) -> Iterator[Finding]:
    """Whether packages have what they should, and nothing is installed beside them."""
    for package in candidate.packages:
        directory = next(
            (found for root in candidate.path if os.path.isdir(found := os.path.join(root, package))), None
        )
        if directory is not None and not os.path.isfile(os.path.join(directory, "py.typed")):
            yield note("C107", package, "py.typed is missing: type checkers pass over the package's annotations")
    if candidate.contents is None:
        return
    own = {*candidate.packages, candidate.distribution.normalized.replace("-", "_")}
    tops = {name.split("/")[0] for name in candidate.contents}
    for top in sorted(tops):
        module = top.removesuffix(".py")
        if top.endswith((".dist-info", ".data", ".egg-info")) or module in own or top == "__pycache__":
            continue
        if module in STRAY or module in sys.stdlib_module_names or top.endswith(".pth"):
            message = f"{shown(top)} would be installed at the top, for everybody; leave it out of the wheel"
            yield problem("C105", shown(top), message)
        else:
            yield note("C105", shown(top), f"{shown(top)} is installed beside the plugin's package")


def _package_data(candidate: Candidate) -> Iterator[Finding]:
    """Of what is no Python, setuptools takes only what it is told."""
    raw = candidate.pyproject
    build = raw.get("build-system")
    backend = build.get("build-backend", "") if isinstance(build, dict) else "setuptools"
    if candidate.kind != "project" or not str(backend).startswith("setuptools"):
        return
    tool = raw.get("tool")
    settings = tool.get("setuptools") if isinstance(tool, dict) else None
    if not isinstance(settings, dict) or not ("package-data" in settings or settings.get("include-package-data")):
        message = "setuptools leaves out files that are no Python; name *.toml and py.typed in package-data"
        yield problem("C107", "package-data", message)


def _names(candidate: Candidate) -> Iterator[Finding]:
    """Names that are somebody else's where the check runs."""
    mine, everything = candidate.distribution.normalized, scan()
    for point in candidate.found.entry_points:
        for other in everything.entry_points:
            if other.name == point.name and other.distribution.normalized != mine:
                message = (
                    f"the plugin {shown(point.name)} is also that of {other.distribution.name}; both would be refused"
                )
                yield problem("C106", shown(point.name), message)
        wanted = point.name.lower().replace("_", "-")
        if wanted != mine and wanted in everything.distributions:
            yield problem("C106", shown(point.name), f"{shown(point.name)} is the name of another distribution")
    if candidate.kind == "installed" or mine in everything.distributions:
        return
    for package in candidate.packages:
        if package in sys.stdlib_module_names:
            yield problem("C106", package, f"{package} is a module of Python's standard library")
        for directory in sys.path:
            there = os.path.join(directory or os.curdir, package)
            if os.path.isdir(there) and os.path.realpath(there) not in _own(candidate, package):
                yield problem("C106", package, f"a package {package} is already in {directory or os.curdir}")
                break


def _own(candidate: Candidate, package: str) -> set[str]:
    return {os.path.realpath(os.path.join(root, package)) for root in candidate.path}
