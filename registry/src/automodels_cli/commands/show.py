"""`registry show NAME`: where a plugin or model type comes from, and what exactly is offered."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from automodels.errors import UnknownModelTypeError, nearest
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.scan import shown
from automodels.plugins.tables import ATTENTION, BackendTable, ModelTable
from automodels_cli.commands.backends import declared
from automodels_cli.exit_codes import FINE
from automodels_cli.installed import installed
from automodels_cli.model_details import (
    described_fields,
    described_key_map,
    own_fields,
    print_fields,
    print_key_maps,
    sources_of,
)
from automodels_cli.output import Output
from automodels_cli.provenance import provenance
from automodels_cli.sources.modules import Sources
from automodels_cli.status import offer_status, plugin_status


def run(arguments: Namespace, output: Output) -> int:
    """Prints the plugins of this name, and the plugins that offer the model type of this name.

    Raises UnknownModelTypeError when there is neither.
    """
    catalog = installed(output)
    found = [
        _described(plugin, catalog, None if plugin.name == arguments.name else arguments.name)
        for plugin in catalog.plugins
        if plugin.name == arguments.name or _offers(plugin, arguments.name)
    ]
    if not found:
        raise _unknown(arguments.name, catalog)
    if output.as_json:
        output.document("show", {"name": arguments.name, "plugins": found})
        return FINE
    if arguments.fields or arguments.keymap:
        _print_sections(found, arguments, output)
        return FINE
    for number, plugin in enumerate(found):
        if number:
            output.line()
        _print(plugin, output)
    if any(plugin["models"] for plugin in found):
        output.note(f"Fields of the config: registry show {arguments.name} --fields")
    if any(model["keymap"] for plugin in found for model in plugin["models"]):
        output.note(f"Tensors and parameters: registry show {arguments.name} --keymap")
    return FINE


def _print_sections(found: list[dict[str, Any]], arguments: Namespace, output: Output) -> None:
    if not any(plugin["models"] for plugin in found):
        output.note(f"{arguments.name} offers no model; all that it offers: registry show {arguments.name}")
        return
    if arguments.fields:
        print_fields(found, everything=arguments.all, output=output)
    if arguments.fields and arguments.keymap:
        output.line()
    if arguments.keymap:
        print_key_maps(found, output)


def _offers(plugin: Plugin, model_type: str) -> bool:
    return plugin.manifest is not None and any(table.model_type == model_type for table in plugin.manifest.models)


def _unknown(name: str, catalog: Catalog) -> UnknownModelTypeError:
    if registered := [
        entry.plugin.name for entry in catalog.registered if name in (entry.model_type, entry.plugin.name)
    ]:
        return UnknownModelTypeError(
            f"{name!r} was registered at run time, by {registered[0]}; there is no manifest that could be shown.",
            hints=["Run: registry list"],
        )
    plugins = [plugin.name for plugin in catalog.plugins]
    guess = nearest(name, [*catalog.model_types, *plugins])
    hints = [f"Did you mean {guess!r}?"] if guess else []
    return UnknownModelTypeError(
        f"No installed plugin and no model type is called {shown(name)}.",
        hints=[*hints, "Run: registry list"],
        trace=[str(plugin) for plugin in catalog.plugins],
    )


def _described(plugin: Plugin, catalog: Catalog, model_type: str | None) -> dict[str, Any]:
    """Everything about a plugin; of its models only those of `model_type`, if it is given."""
    manifest = plugin.manifest
    models = [table for table in manifest.models if model_type in (None, table.model_type)] if manifest else []
    sources = sources_of(plugin, catalog)
    return {
        "name": plugin.name,
        "version": plugin.version,
        "location": plugin.location,
        "editable": plugin.editable,
        "provenance": provenance(plugin, catalog),
        **plugin_status(plugin).described(),
        "problems": [{"code": each.code, "message": each.message, "fatal": each.fatal} for each in plugin.problems],
        "summary": manifest.summary if manifest else None,
        "api": manifest.api if manifest else None,
        "hooks": manifest.hooks if manifest else None,
        "models": [_model(plugin, table, catalog, sources) for table in models],
        "backends": [_backend(table) for table in (manifest.backends if manifest else ())],
        "tasks": {table.name: table.auto_class for table in (manifest.tasks if manifest else ())},
        "sources": [table.scheme for table in (manifest.sources if manifest else ())],
    }


def _model(plugin: Plugin, table: ModelTable, catalog: Catalog, sources: Sources) -> dict[str, Any]:
    backends = [backend.name for owner, backend in catalog.backends(table.framework) if owner.state == "ok"]
    return {
        "model_type": table.model_type,
        "framework": table.framework,
        **offer_status(plugin, table.requires, catalog).described(),
        "config": table.config,
        "config_fields": described_fields(table, sources),
        "requires": list(table.requires),
        "architectures": list(table.architectures),
        "keymap": table.keymap,
        "key_map": described_key_map(table, sources),
        "tasks": [
            {"task": task, "auto_class": catalog.tasks.get(task), "model": reference}
            for task, reference in table.tasks.items()
        ],
        "backends": list(dict.fromkeys(backends)),
    }


def _backend(table: BackendTable) -> dict[str, Any]:
    return {"name": table.name, "framework": table.framework, **declared(table)}


def _print(plugin: dict[str, Any], output: Output) -> None:
    output.line(f"{plugin['name']} {plugin['version']}")
    output.fields([
        ("summary", plugin["summary"] or ""),
        ("status", plugin["status"]),
        *(("problem", f"[{each['code']}] {each['message']}") for each in plugin["problems"]),
        ("location", ("editable, " if plugin["editable"] else "") + plugin["location"]),
        *_provenance_fields(plugin),
        ("plugin API", plugin["api"] or ""),
        ("hooks", plugin["hooks"] or ""),
        *(("own task", f"{task}: {auto_class}") for task, auto_class in plugin["tasks"].items()),
        *(("source", f"{scheme}://") for scheme in plugin["sources"]),
    ])  # fmt: skip
    for backend in plugin["backends"]:
        output.line()
        output.line(f"backend {backend['name']} in {backend['framework']}")
        output.fields(_backend_fields(backend))
    for model in plugin["models"]:
        output.line()
        output.line(f"{model['model_type']} in {model['framework']}")
        output.fields([
            ("status", model["status"].replace("-", " ") + (f": {model['reason']}" if model["reason"] else "")),
            ("config", model["config"]),
            ("fields", _counted(model["config_fields"])),
            ("requires", ", ".join(model["requires"])),
            ("architectures", ", ".join(model["architectures"])),
            ("key map", _counted_rows(model["keymap"], model["key_map"])),
            ("backends", ", ".join(model["backends"])),
            *((each["task"], f"{each['auto_class'] or 'no auto class'} → {each['model']}") for each in model["tasks"]),
        ])  # fmt: skip


def _provenance_fields(plugin: dict[str, Any]) -> list[tuple[str, str]]:
    found = plugin["provenance"]
    if found is None:
        return []
    installer = f", installed by {found['installer']}" if found["installer"] else ""
    return [
        ("distribution", f"{found['distribution']} {found['version']}{installer}"),
        ("installed from", found["url"] or ""),
    ]


def _counted(found: dict[str, Any]) -> str:
    if found["note"]:
        return str(found["note"])
    own = len(own_fields(found["fields"]))
    return f"{own} of its own, {len(found['fields']) - own} that every config has"


def _counted_rows(reference: str | None, found: dict[str, Any] | None) -> str:
    if reference is None or found is None:
        return ""
    return f"{reference}, {len(found['rows'])} rows" if found["note"] is None else str(found["note"])


def _backend_fields(backend: dict[str, Any]) -> list[tuple[str, str]]:
    capability, queries = backend["min_capability"], backend["min_queries"]
    multiple, largest = backend["head_size_multiple"], backend["max_head_size"]
    is_attention = backend["kind"] == ATTENTION
    heads = [f"multiples of {multiple}"] if multiple > 1 else []
    heads += [f"up to {largest} numbers"] if largest else []
    return [
        ("kind", backend["kind"]),
        ("summary", backend["summary"]),
        ("implementation", backend["implementation"]),
        ("devices", ", ".join(backend["devices"])),
        ("capability", f"{capability / 10} or more" if capability else ""),
        ("dtypes", ", ".join(backend["dtypes"]) or "all"),
        ("supports", (", ".join(backend["supports"]) or "none of the features") if is_attention else ""),
        ("heads", ", ".join(heads)),
        ("queries", f"from {queries} tokens; fewer go to the plain formula" if queries > 1 else ""),
        ("priority", str(backend["priority"])),
        ("requires", ", ".join(backend["requires"])),
        ("probe", backend["probe"] or ""),
    ]
