"""What a saved checkpoint says of where it comes from: plugin, distribution, versions. `plugins.recorded` reads it."""

from __future__ import annotations

from automodels.plugins.entries import Plugin
from automodels.plugins.judge import PLUGIN_API
from automodels.plugins.recorded import KEY


def provenance(plugin: Plugin | None = None) -> dict[str, str]:
    """For the key `automodels` of `config.json`, from which loading takes the plugin that it prefers."""
    from automodels import __version__  # the package is complete by now; at import time it is not

    found = {"version": __version__}
    if plugin is not None:
        found |= {"plugin": plugin.name, "plugin_version": plugin.version, "plugin_api": PLUGIN_API}
        if plugin.distribution:  # a class that was registered at run time came with none
            found["distribution"] = plugin.distribution
    return found


def file_metadata(plugin: Plugin | None = None) -> dict[str, str]:
    """The same for the header of a weight file, which other programs use as well: `automodels_plugin` and so on."""
    return {f"{KEY}_{key}": value for key, value in provenance(plugin).items()}
