"""What a checkpoint says of the plugin that saved it, and what follows from that here.

The values come from whoever made the checkpoint: each is taken only in its proper form, and none is ever an order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from automodels.plugins.entries import Plugin
from automodels.plugins.manifest import NAME

KEY = "automodels"
"""Where it stands in `config.json`."""

_VERSION_LENGTH = 64
_API = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Who saved a checkpoint, by its own account; what is not said, or not in the proper form, is empty."""

    plugin: str
    version: str = ""
    """Of the plugin's distribution."""

    distribution: str = ""
    api: str = ""
    """Plugin API under which it was saved."""

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.plugin!r}{version}" + (f" (distribution {self.distribution})" if self.distribution else "")

    def sentences(self) -> list[str]:
        """For an error, where the plugin is not installed."""
        return [f"The checkpoint says that it was saved with {self}, which is not installed."]

    def hints(self) -> list[str]:
        """What to install, where the checkpoint says it."""
        return [f"If you trust that package: pip install {self.distribution}"] if self.distribution else []

    def notes(self, plugin: Plugin, api: str) -> list[str]:
        """How the installed plugin of this name is older than the one that saved; `api` is the plugin API here."""
        notes = []
        if _older(plugin.version, self.version):
            notes.append(f"The checkpoint was saved with {self.plugin} {self.version}; {plugin.version} is installed.")
        if _older(api, self.api):
            notes.append(f"The checkpoint was saved under plugin API {self.api}; this is {api}.")
        return notes


def recorded_in(raw: Mapping[str, object]) -> Recorded | None:
    """What a `config.json` says of its plugin; None when it names none in a form that a plugin's name can have."""
    said = raw.get(KEY)
    plugin = said.get("plugin") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(plugin, str) or NAME.fullmatch(plugin) is None:
        return None
    distribution, api = said.get("distribution"), said.get("plugin_api")
    return Recorded(
        plugin=plugin,
        version=_version(said.get("plugin_version")),
        distribution=distribution if isinstance(distribution, str) and NAME.fullmatch(distribution) else "",
        api=api if isinstance(api, str) and _API.fullmatch(api) else "",
    )


def _version(said: object) -> str:
    """A version of PEP 440 as it is written there, or nothing."""
    if not isinstance(said, str) or len(said) > _VERSION_LENGTH or not said.isascii() or not said.isprintable():
        return ""
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(said))
    except InvalidVersion:
        return ""


def _older(have: str, recorded: str) -> bool:
    if not recorded or have == recorded:
        return False
    from packaging.version import InvalidVersion, Version

    try:
        return Version(have) < Version(recorded)
    except InvalidVersion:  # of an installation that has no proper one
        return False
