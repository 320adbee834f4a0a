"""Hook specifications: what a plugin may do besides offering classes. The reference is docs/plugins.md.

A plugin names a module in its manifest (`hooks = "flax_opt.hooks"`); that module's functions decorated with `hookimpl`
are registered when one of the plugin's entries is chosen, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("automodels")
hookimpl = pluggy.HookimplMarker("automodels")
"""Marks a function of a plugin as the implementation of the hook that has its name."""


class Hooks:
    """Every hook; an implementation may leave out arguments, but not add any."""

    @hookspec(firstresult=True)
    def locate_checkpoint(self, name: str, options: Mapping[str, Any]) -> str | os.PathLike[str] | None:
        """For a `name` whose scheme the manifest declares: a directory with the checkpoint, or None if there is none.

        `options` are those of `locate`: revision, cache_dir, force_download, local_files_only, token. What cannot be
        honoured is refused with an InputError, not passed over. Errors of `automodels.errors` reach the user as they
        are; others become a PluginHookError.
        """

    @hookspec
    def configure_load(self, config: Any, options: dict[str, Any]) -> dict[str, Any] | None:
        """Before a model of this plugin is built: options of `from_pretrained` to change, or None."""

    @hookspec
    def model_loaded(self, model: Any, report: Any) -> None:
        """After a model of this plugin was loaded: an observer; its return value is ignored."""
