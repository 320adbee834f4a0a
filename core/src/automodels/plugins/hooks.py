"""Hook specifications: what a plugin may do besides offering classes. The reference is docs/plugins.md.

A plugin names a module in its manifest (`hooks = "flax_opt.hooks"`); that module's functions decorated with `hookimpl`
are registered when one of the plugin's entries is chosen, and not before.
"""

from __future__ import annotations

from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("automodels")
hookimpl = pluggy.HookimplMarker("automodels")


class Hooks:
    """Every hook; an implementation may leave out arguments, but not add any."""

    @hookspec
    def configure_load(self, config: Any, options: dict[str, Any]) -> dict[str, Any] | None:
        """Before a model of this plugin is built: options of `from_pretrained` to change, or None."""

    @hookspec
    def model_loaded(self, model: Any, report: Any) -> None:
        """After a model of this plugin was loaded: an observer; its return value is ignored."""
