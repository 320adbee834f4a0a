"""Sources: plugins that turn `scheme://…` into a directory.

Which plugin answers for a scheme is read off the manifests; only that one is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automodels.errors import AmbiguousModelError, CheckpointNotFoundError, NoUsablePluginError, nearest
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.host import activate
from automodels.plugins.scan import shown


def find_checkpoint(catalog: Catalog, scheme: str, name: str, options: Mapping[str, Any]) -> Path | None:
    """The directory that the plugin for `scheme` has for `name`; None when it has none.

    Raises what `source_of` raises, and PluginImportError or PluginHookError when the plugin fails.
    """
    return activate(source_of(catalog, scheme, name)).find_checkpoint(name, options)


def source_of(catalog: Catalog, scheme: str, name: str = "") -> Plugin:
    """The one plugin that declares a scheme. Imports nothing.

    Raises CheckpointNotFoundError when none does, NoUsablePluginError when those that do may not be used,
    AmbiguousModelError when several may.
    """
    declaring = [plugin for plugin in catalog.plugins if scheme in _schemes(plugin)]
    usable = [plugin for plugin in declaring if plugin.state == "ok"]
    name = name or f"{scheme}://"
    if len(usable) == 1:
        return usable[0]
    if usable:
        raise AmbiguousModelError(
            "\n".join([f"{scheme}:// is declared by {len(usable)} plugins:", *(f"    {plugin}" for plugin in usable)]),
            hints=[f"Disable all but one, for instance: AUTOMODELS_DISABLE={usable[0].name}"],
        )
    if declaring:
        reasons = [f"    {plugin}: {plugin.fatal.message}" for plugin in declaring if plugin.fatal]
        raise NoUsablePluginError("\n".join([f"No plugin for {scheme}:// can be used:", *reasons]))
    known = sorted({found for plugin in catalog.plugins if plugin.state == "ok" for found in _schemes(plugin)})
    guess = nearest(scheme, known)
    raise CheckpointNotFoundError(
        f"No installed plugin reads {shown(name)}"
        + (f"; did you mean {guess}://?" if guess else ".")
        + f"\nSchemes of installed plugins: {', '.join(known) or 'none'}.",
        hints=["Pass a directory, a name on the Hub (without an address), or install a plugin for the scheme."],
    )


def _schemes(plugin: Plugin) -> set[str]:
    return {source.scheme for source in plugin.manifest.sources} if plugin.manifest else set()
