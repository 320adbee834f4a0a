"""Problems of plugins, as values: something that is wrong with an installed plugin and does not stop anything else.

Codes: P1xx the installation, P2xx the manifest, P3xx this machine or the settings, P4xx plugin code.
"""

from __future__ import annotations

from dataclasses import dataclass

MEANINGS = {
    "P101": "entry_points.txt cannot be read",
    "P102": "the entry point is not 'package:file.toml'",
    "P103": "the package of the entry point is not installed",
    "P104": "a later directory on sys.path holds the same distribution again",
    "P105": "METADATA is missing or unreadable",
    "P201": "the manifest is missing",
    "P202": "the manifest is too large",
    "P203": "the manifest is not TOML",
    "P204": "a value in the manifest has the wrong type or form",
    "P205": "the manifest's schema is unknown",
    "P206": "the manifest has a key that this version does not know",
    "P207": "the manifest lies outside its package",
    "P208": "the entry point and the manifest name different plugins",
    "P209": "the plugin has the name of another distribution or plugin",
    "P210": "the manifest has a key that is deprecated",
    "P301": "the plugin was written for another plugin API",
    "P302": "the plugin is disabled",
    "P303": "a setting names an unknown plugin or model type",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """One thing that is wrong; with `fatal`, the plugin offers nothing because of it."""

    code: str
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"
