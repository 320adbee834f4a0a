"""What the sources of a model table say: fields of its config, and its key map. Read, not run."""

from __future__ import annotations

import os
from typing import Any

from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.tables import ModelTable
from automodels_cli.output import Output
from automodels_cli.sources.config_fields import config_fields
from automodels_cli.sources.key_maps import key_map
from automodels_cli.sources.modules import Sources, Unreadable

FIELD_HEADERS = ("FIELD", "TYPE", "DEFAULT", "MEANING")
KEY_MAP_HEADERS = ("TENSOR", "PARAMETER", "LAYOUT")


def sources_of(plugin: Plugin, catalog: Catalog) -> Sources:
    """The modules that a plugin's references may name."""
    package = os.path.basename(plugin.location)
    known = {package: plugin.location} if package.isidentifier() else {}
    return Sources(tuple(catalog.scan.distributions.values()), known)


def described_fields(table: ModelTable, sources: Sources) -> dict[str, Any]:
    """For JSON: the fields, or why they cannot be told."""
    try:
        fields = [field.described() for field in config_fields(table.config, sources)]
    except Unreadable as error:
        return {"fields": None, "note": f"fields are not literal; see {table.config}: {error}"}
    return {"fields": fields, "note": None}


def described_key_map(table: ModelTable, sources: Sources) -> dict[str, Any] | None:
    """For JSON: the table, or why it cannot be told; None where there is no key map."""
    empty = {"rows": None, "prefix": None, "older": None, "buffers": None, "alternates": None}
    if table.keymap is None:
        return None
    try:
        return {**key_map(table.keymap, sources).described(), "note": None}
    except Unreadable as error:
        return {**empty, "note": f"the key map is not literal; see {table.keymap}: {error}"}


def own_fields(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that not every config has."""
    return [field for field in fields if not field["generic"]]


def print_fields(plugins: list[dict[str, Any]], *, everything: bool, output: Output) -> None:
    """A table for each config class; classes that several plugins name come once."""
    users: dict[str, list[str]] = {}
    configs: dict[str, dict[str, Any]] = {}
    for plugin in plugins:
        for model in plugin["models"]:
            users.setdefault(model["config"], []).append(f"{plugin['name']} in {model['framework']}")
            configs.setdefault(model["config"], model["config_fields"])
    for number, (reference, found) in enumerate(configs.items()):
        if number:
            output.line()
        output.line(f"{reference} ({', '.join(dict.fromkeys(users[reference]))})")
        if found["note"]:
            output.line(found["note"])
            continue
        shown = found["fields"] if everything else own_fields(found["fields"])
        output.table(FIELD_HEADERS, [_field_cells(field) for field in shown])
        if len(shown) < len(found["fields"]):
            left = len(found["fields"]) - len(shown)
            output.note(f"{left} fields that every config has are left out; with --all they are shown, too.")


def print_key_maps(plugins: list[dict[str, Any]], output: Output) -> None:
    """A table for each key map."""
    maps = {
        model["keymap"]: (plugin["name"], model)
        for plugin in plugins
        for model in plugin["models"]
        if model["keymap"] is not None
    }
    if not maps:
        output.note("No key map is declared: tensors bear the names of parameters, or the classes know them.")
    for number, (reference, (owner, model)) in enumerate(maps.items()):
        if number:
            output.line()
        output.line(f"{reference} ({model['model_type']} in {model['framework']}, {owner})")
        found = model["key_map"]
        if found["note"]:
            output.line(found["note"])
            continue
        output.fields([
            ("prefix", found["prefix"]),
            *(("older ending", f"{each['ending']} → {each['today']}") for each in found["older"]),
            *(("buffer", name) for name in found["buffers"]),
            *(("second name", f"{each['tensor']} of {each['stands_for']}") for each in found["alternates"]),
        ])  # fmt: skip
        output.table(KEY_MAP_HEADERS, [(row["tensor"], row["parameter"], row["layout"]) for row in found["rows"]])


def _field_cells(field: dict[str, Any]) -> tuple[str, ...]:
    default = "required" if field["required"] else field["default"]
    limits = f" ({', '.join(field['limits'])})" if field["limits"] else ""
    return field["name"], field["type"] + limits, default, field["doc"] or "-"
