"""`registry disable PLUGIN` and `registry enable PLUGIN`: the list `disable` of the project file."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from automodels.errors import UnknownModelTypeError, nearest
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.names import check_name
from automodels.plugins.project_file import Project
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import installed
from automodels_cli.outcome import out_of_force
from automodels_cli.output import Output
from automodels_cli.project_edit import edit, project_path
from automodels_cli.status import Status, plugin_status

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def run(arguments: Namespace, output: Output) -> int:
    """Edits the project file and says what the plugin's status is now."""
    disabling, plugin = arguments.action == "disable", arguments.plugin
    check_name("plugin", plugin)
    path = project_path(arguments.file)
    if disabling and not arguments.force:
        _check(installed(output), plugin)

    def change(document: TOMLDocument) -> bool:
        names: Any = document.get("disable", [])
        there = plugin in names
        if disabling and not there:
            if "disable" not in document:
                document["disable"] = []
            names = document["disable"]
            names.append(plugin)
        while not disabling and plugin in names:
            names.remove(plugin)
        return disabling is not there

    changed, project = edit(path, change)
    catalog = load_catalog()
    found = catalog.plugin(plugin)
    status = plugin_status(found) if found is not None else Status(word="not installed")
    warnings = out_of_force(catalog, path)
    if output.as_json:
        content = {"plugin": plugin, "file": path, "changed": changed, **status.described(), "warnings": warnings}
        if disabling:
            output.document("disable", content)
        else:
            output.document("enable", content)
        return FINE
    output.line(f"{path}: {_done(plugin, project, disabling=disabling, changed=changed)}")
    output.line(f"Its status is now {status}.")
    for warning in warnings:
        output.note(f"warning: {warning}")
    return FINE


def _done(plugin: str, project: Project, *, disabling: bool, changed: bool) -> str:
    if disabling:
        return f"{plugin} is disabled." if changed else f"{plugin} was disabled already."
    if changed:
        return f"{plugin} is not disabled any more."
    guess = nearest(plugin, project.disable)
    return f"{plugin} was not disabled" + (f"; did you mean {guess!r}?" if guess else ".")


def _check(catalog: Catalog, plugin: str) -> None:
    """Raises UnknownModelTypeError for a name that no plugin here has: what is misspelt would disable nothing."""
    known = {found.name for found in catalog.plugins} | {entry.plugin.name for entry in catalog.registered}
    if plugin in known:
        return
    guess = nearest(plugin, known)
    raise UnknownModelTypeError(
        f"The plugin {plugin!r} is not installed." + (f" Did you mean {guess!r}?" if guess else ""),
        hints=["All that are: registry list", "To write it down all the same: --force"],
    )
