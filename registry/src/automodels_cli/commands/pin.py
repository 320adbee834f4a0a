"""`registry pin MODEL_TYPE PLUGIN`: takes one plugin for a model type, by the project file."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from automodels.errors import UnknownModelTypeError, listed, nearest
from automodels.plugins.catalog import Catalog
from automodels.plugins.names import check_name
from automodels.plugins.settings import variable_part
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import installed
from automodels_cli.outcome import outcome
from automodels_cli.output import Output
from automodels_cli.project_edit import edit, project_path

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def run(arguments: Namespace, output: Output) -> int:
    """Edits the project file and says what is chosen now."""
    model_type, plugin = arguments.model_type, arguments.plugin
    check_name("model type", model_type)
    check_name("plugin", plugin)
    path = project_path(arguments.file)
    if not arguments.force:
        _check(installed(output), model_type, plugin)
    before: list[str] = []

    def change(document: TOMLDocument) -> bool:
        import tomlkit

        if "pins" not in document:
            document["pins"] = tomlkit.table()
        pins = document["pins"]
        same = [key for key in pins if variable_part(key) == variable_part(model_type)]
        before.extend(str(pins[key]) for key in same)
        if [(key, pins[key]) for key in same] == [(model_type, plugin)]:
            return False
        for key in same:
            if key != model_type:
                del pins[key]
        pins[model_type] = plugin
        return True

    changed, project = edit(path, change)
    found = outcome(model_type, path, project)
    if output.as_json:
        content = {"model_type": model_type, "plugin": plugin, "file": path, "changed": changed}
        output.document("pin", {**content, **found.described()})
        return FINE
    instead = f" (it was {before[0]})" if before and before[0] != plugin else ""
    done = f"is pinned to {plugin}{instead}" if changed else f"was pinned to {plugin} already"
    output.line(f"{path}: {model_type} {done}.")
    found.print(model_type, output)
    return FINE


def _check(catalog: Catalog, model_type: str, plugin: str) -> None:
    """Raises UnknownModelTypeError for either name: a misspelt pin would be found out much later."""
    force = "To write it down all the same: --force"
    if not catalog.entries_of(model_type):
        guess = nearest(model_type, catalog.model_types)
        raise UnknownModelTypeError(
            f"No installed plugin offers the model type {model_type!r}."
            + (f" Did you mean {guess!r}?" if guess else f" Offered here: {listed(catalog.model_types) or 'none'}."),
            hints=[force],
        )
    offering = sorted({entry.plugin.name for entry in catalog.entries_of(model_type)})
    if plugin not in offering:
        guess = nearest(plugin, offering)
        there = "does not offer" if catalog.plugin(plugin) else "is not installed; it cannot offer"
        raise UnknownModelTypeError(
            f"The plugin {plugin!r} {there} the model type {model_type!r}."
            + (f" Did you mean {guess!r}?" if guess else ""),
            hints=[f"Offered by: {listed(offering)}", force],
        )
