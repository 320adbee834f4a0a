"""Checks of what a manifest names, by the sources alone: it is there, and what should be light is."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from automodels.plugins.entries import Plugin
from automodels.testing.firewall import FRAMEWORKS
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.codes import note, problem
from automodels_cli.checking.references import Reference, references
from automodels_cli.checking.sources import Module, Sources, UnparsableError
from automodels_cli.findings import Finding


def reference_findings(candidate: Candidate) -> Iterator[Finding]:
    """What is wrong with the references of each of its manifests."""
    sources = Sources(candidate.path)
    elsewhere = Sources([directory for directory in sys.path if directory])
    for plugin in candidate.plugins:
        if plugin.manifest is None:
            continue
        for reference in dict.fromkeys(references(plugin.manifest)):
            yield from _of_reference(reference, plugin, sources, elsewhere)


def _of_reference(reference: Reference, plugin: Plugin, sources: Sources, elsewhere: Sources) -> Iterator[Finding]:
    top = reference.module.partition(".")[0]
    own = sources.has_package(top)
    searched = sources if own else elsewhere
    try:
        module = searched.module(reference.module)
        if module is None:
            yield _absent(reference, plugin, own=own or searched.has_package(top))
            return
        yield from _names(reference, module, plugin)
        if reference.is_light and own:
            yield from _imports(reference, sources, plugin)
        if reference.role == "config" and own:
            yield from _fields(reference, module, plugin)
    except UnparsableError as error:
        yield problem("C203", plugin.name, f"{error} ({reference.where})")


def _absent(reference: Reference, plugin: Plugin, *, own: bool) -> Finding:
    if own:
        message = f"{reference.where} is {reference.text}; there is no module {reference.module}"
        return problem("C201", plugin.name, message)
    message = f"{reference.where} is {reference.text}; {reference.module.partition('.')[0]} is not installed here"
    return note("C201", plugin.name, message)


def _names(reference: Reference, module: Module, plugin: Plugin) -> Iterator[Finding]:
    first = reference.name.partition(".")[0]
    if first and first not in module.names and not module.open:
        from automodels.errors import nearest

        guess = nearest(first, sorted(module.names))
        message = f"{reference.where} is {reference.text}; {reference.module} defines no {first}"
        yield problem("C202", plugin.name, message + (f"; did you mean {guess}?" if guess else ""))


def _imports(reference: Reference, sources: Sources, plugin: Plugin) -> Iterator[Finding]:
    said = set()
    for imported, file, line, _ in sources.executed(reference.module):
        framework = imported.partition(".")[0]
        if framework in FRAMEWORKS and framework not in said:
            said.add(framework)
            message = f"{reference.where} ({reference.module}) imports {framework} at {file}:{line}"
            yield problem("C204", plugin.name, f"{message}; import it where it is used, or in another module")


def _fields(reference: Reference, module: Module, plugin: Plugin) -> Iterator[Finding]:
    tree = module.tree.body if module.tree else []
    found = next((node for node in tree if isinstance(node, ast.ClassDef) and node.name == reference.name), None)
    if found is None:
        return
    silent = [name for name, docstring in _own_fields(found) if not docstring]
    if silent:
        which = ", ".join(silent[:8]) + (f" and {len(silent) - 8} more" if len(silent) > 8 else "")
        yield note("C205", plugin.name, f"fields of {reference.name} without a docstring: {which}")


def _own_fields(found: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    """(name, whether a string follows it) of each annotated field that is no ClassVar."""
    for node, after in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        annotation = ast.unparse(node.annotation)
        if "ClassVar" in annotation or node.target.id.startswith("_"):
            continue
        yield node.target.id, isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
