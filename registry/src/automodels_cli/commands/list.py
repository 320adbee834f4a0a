"""`registry list`: a row for each model type, framework and plugin; nothing that is installed is left out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Entry, Plugin
from automodels.plugins.manifest import NAME
from automodels_cli.exit_codes import ATTENTION, FINE
from automodels_cli.installed import checked_framework, installed
from automodels_cli.output import Output
from automodels_cli.status import Status, offer_status, plugin_status
from automodels_cli.table import ABSENT

NAMES = 3  # fit into a row; `registry show` and --json name all of them
HEADERS = ("MODEL TYPE", "FRAMEWORK", "TASKS", "PLUGIN", "VERSION", "STATUS")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one plugin offers for one model type; a plugin without models has a row of its own."""

    plugin: Plugin
    status: Status
    model_type: str | None = None
    framework: str | None = None
    tasks: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        offers = [
            f"offers {word if len(names) == 1 else f'{word}s'} {_shortened(names)}"
            for word, names in (("backend", self.backends), ("source", self.sources))
            if names
        ]
        return (
            self.model_type or ABSENT,
            self.framework or ABSENT,
            _shortened(self.tasks) or ABSENT,
            self.plugin.name,
            self.plugin.version,
            ", ".join([str(self.status), *offers]),
        )

    def described(self) -> dict[str, object]:
        return {
            "model_type": self.model_type,
            "framework": self.framework,
            "tasks": list(self.tasks),
            "backends": list(self.backends),
            "sources": list(self.sources),
            "plugin": self.plugin.name,
            "version": self.plugin.version,
            **self.status.described(),
        }


def _shortened(names: tuple[str, ...]) -> str:
    if len(names) <= NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: NAMES - 1])} and {len(names) - NAMES + 1} more"


def run(arguments: Namespace, output: Output) -> int:
    """Prints the rows that match; exit code 1 when something was asked for and nothing matches."""
    framework = checked_framework(arguments.framework)
    catalog = installed(output)
    rows = [row for row in _rows(catalog) if _matches(row, arguments, framework)]
    if output.as_json:
        warnings = [str(problem) for problem in catalog.warnings]
        output.document("list", {"rows": [row.described() for row in rows], "warnings": warnings})
    elif arguments.names:
        _print_names(rows, output)
    else:
        output.table(HEADERS, [row.cells() for row in rows])
    asked = (arguments.pattern, framework, arguments.task, arguments.status, arguments.plugin)
    if not rows:
        return _nothing(catalog, output, asked)
    unfit = {id(row.plugin) for row in rows if row.status.word not in ("ok", "empty", "disabled")}
    if unfit and not arguments.names:
        output.note(f"{len(unfit)} of the plugins cannot be used fully; run: registry doctor")
    return FINE


def _print_names(rows: list[Row], output: Output) -> None:
    """Names that are names: what a broken plugin has in place of one might mean something to a shell."""
    names = {name for row in rows for name in (row.model_type, row.plugin.name) if name and NAME.fullmatch(name)}
    for name in sorted(names):
        output.line(name)


def _rows(catalog: Catalog) -> list[Row]:
    rows = [row for plugin in catalog.plugins for row in (*_model_rows(plugin, catalog), *_other_rows(plugin))]
    rows += _registered_rows(catalog)
    with_models = [row for row in rows if row.model_type is not None]
    with_models.sort(key=lambda row: (row.model_type, row.framework, row.plugin.name))
    return with_models + [row for row in rows if row.model_type is None]


def _model_rows(plugin: Plugin, catalog: Catalog) -> Iterator[Row]:
    """Tables of one model type, framework and requirements become one row."""
    tasks: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for model in plugin.manifest.models if plugin.manifest else ():
        tasks.setdefault((model.model_type, model.framework, model.requires), []).extend(model.tasks)
    for (model_type, framework, requires), names in tasks.items():
        yield Row(
            plugin=plugin,
            status=offer_status(plugin, requires, catalog),
            model_type=model_type,
            framework=framework,
            tasks=tuple(dict.fromkeys(names)),
        )


def _registered_rows(catalog: Catalog) -> Iterator[Row]:
    """What AUTOMODELS_REGISTERED hands on to this process."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in catalog.registered:
        found.setdefault((entry.model_type, entry.framework, entry.plugin.name), []).append(entry)
    for (model_type, framework, _), entries in found.items():
        plugin, tasks = entries[0].plugin, tuple(entry.task for entry in entries)
        status = offer_status(plugin, (), catalog)
        yield Row(plugin=plugin, status=status, model_type=model_type, framework=framework, tasks=tasks)


def _other_rows(plugin: Plugin) -> Iterator[Row]:
    """Of a plugin without models: a row for each framework with backends, one for schemes, or one that says why not."""
    manifest = plugin.manifest
    if manifest is not None and manifest.models:
        return
    backends: dict[str, list[str]] = {}
    for table in manifest.backends if manifest else ():
        backends.setdefault(table.framework, []).append(table.name)
    status = plugin_status(plugin)
    for framework, names in backends.items():
        yield Row(plugin=plugin, status=status, framework=framework, backends=tuple(names))
    sources = tuple(f"{table.scheme}://" for table in manifest.sources) if manifest else ()
    if sources or not backends:
        yield Row(plugin=plugin, status=status, sources=sources)


def _matches(row: Row, arguments: Namespace, framework: str | None) -> bool:
    return (
        framework in (None, row.framework)
        and (arguments.task is None or arguments.task in row.tasks)
        and arguments.status in (None, row.status.word)
        and arguments.plugin in (None, row.plugin.name)
        and (arguments.pattern is None or _named(arguments.pattern.lower(), (row.model_type, row.plugin.name)))
    )


def _named(pattern: str, names: Iterable[str | None]) -> bool:
    if not any(char in pattern for char in "*?["):
        return any(pattern in name.lower() for name in names if name)
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name.lower(), pattern) for name in names if name)


def _nothing(catalog: Catalog, output: Output, asked: tuple[str | None, ...]) -> int:
    if not catalog.plugins:
        output.note("No plugins are installed. Run, for instance: pip install flax-bert")
    if not any(asked):
        return FINE
    if catalog.plugins:
        from automodels.errors import nearest

        words = {word for row in _rows(catalog) for word in (row.model_type, row.plugin.name, *row.tasks) if word}
        guess = next((found for word in asked if word and (found := nearest(word, words - {word}))), None)
        output.note("Nothing matches" + (f"; did you mean {guess!r}?" if guess else "; all of it: registry list"))
    return ATTENTION
