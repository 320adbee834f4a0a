"""Activation: the only place where code of a plugin is imported.

What may go wrong in foreign code becomes a `PluginError` that names the plugin: an exception, an attempt to end the
process, a missing class. An import cannot be interrupted safely; one that takes long is named in a warning.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automodels.errors import AutomodelsError, PluginHookError, PluginImportError, PluginReferenceError
from automodels.plugins.entries import REGISTERED, Plugin
from automodels.plugins.hooks import Hooks
from automodels.plugins.registered_variable import as_registered, written_so_far
from automodels.plugins.scan import shown

SLOW_IMPORT_SECONDS = 20.0
logger = logging.getLogger("automodels")


@dataclass(frozen=True, kw_only=True)
class ActivePlugin:
    """A plugin whose hooks are registered and whose classes may be imported."""

    plugin: Plugin
    hooks: Any
    """The `pluggy.PluginManager.hook` of this plugin alone."""

    def load(self, reference: str | type) -> Any:
        """The object that a reference of the manifest names."""
        return load_reference(reference, self.plugin)

    def find_checkpoint(self, name: str, options: Mapping[str, Any]) -> Path | None:
        """The directory that the plugin's `locate_checkpoint` has for `name`; None when it has none."""
        with _foreign_hook(self.plugin, "locate_checkpoint"):
            found = self.hooks.locate_checkpoint(name=name, options=dict(options))
        if found is None:
            return None
        if not isinstance(found, str | os.PathLike) or not os.path.isdir(found):
            raise PluginHookError(
                f"The hook locate_checkpoint of {self.plugin} gave {shown(found)} for {shown(name)}, not a directory."
            )
        return Path(os.fspath(found))

    def configure(self, config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` of from_pretrained with the changes that the plugin's `configure_load` wants."""
        merged = dict(options)
        with _foreign_hook(self.plugin, "configure_load"):
            for changes in self.hooks.configure_load(config=config, options=dict(merged)):
                merged |= changes
        return merged

    def observe_loaded(self, model: Any, report: Any) -> None:
        """Tells the plugin's observers; what they raise is logged and stops nothing."""
        for implementation in self.hooks.model_loaded.get_hookimpls():
            arguments = {"model": model, "report": report}
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except Exception:  # foreign code: a failing observer must not cost the user the loaded model
                logger.warning("The hook model_loaded of plugin %s failed.", self.plugin.name, exc_info=True)


_active: dict[tuple[str, str, str], ActivePlugin] = {}


def activate(plugin: Plugin) -> ActivePlugin:
    """Registers the hooks of a chosen plugin, once.

    Raises PluginImportError when the hook module cannot be imported, PluginHookError when a hook does not fit its
    specification; the plugin is then not registered at all.
    """
    key = (plugin.name, plugin.version, plugin.location)
    if key not in _active:  # no lock: a plugin whose import hangs must not stop the activation of others
        _active.setdefault(key, ActivePlugin(plugin=plugin, hooks=_registered_hooks(plugin)))
    return _active[key]


def load_reference(reference: str | type, plugin: Plugin) -> Any:
    """Imports `package.module:name` on behalf of a plugin.

    Raises PluginImportError when the module cannot be imported, PluginReferenceError when it lacks the name.
    """
    if not isinstance(reference, str):
        return reference
    module_name, _, name = reference.partition(":")
    found: Any = _import(module_name, plugin)
    try:
        with _foreign_import(module_name, plugin):  # a module's __getattr__ may import more
            return functools.reduce(getattr, name.split("."), found)
    except PluginImportError as failure:
        if not isinstance(failure.__cause__, AttributeError):
            raise
        registered = plugin.version == REGISTERED
        raise PluginReferenceError(
            f"{'AUTOMODELS_REGISTERED' if registered else f'The manifest of {plugin}'} names {reference}, but "
            f"{module_name} has no {name!r}.",
            hints=[] if registered else [f"Run: pip install --upgrade {plugin.name}"],
        ) from failure.__cause__


def _registered_hooks(plugin: Plugin) -> Any:
    import pluggy

    manager = pluggy.PluginManager("automodels")
    manager.add_hookspecs(Hooks)
    module_name = plugin.manifest.hooks if plugin.manifest else None
    if module_name is not None:
        module = _import(module_name, plugin)
        try:
            manager.register(module, name=plugin.name)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            manager.unregister(name=plugin.name)
            message = f"The hooks of {plugin} do not fit: {error}"
            raise PluginHookError(message, hints=[f"Run: pip install --upgrade {plugin.name}"]) from error
    return manager.hook


def _import(module_name: str, plugin: Plugin) -> Any:
    with _foreign_import(module_name, plugin):
        return importlib.import_module(module_name)


@contextmanager
def _foreign_import(module_name: str, plugin: Plugin) -> Iterator[None]:
    with _guarded_environment(plugin), _named_when_slow(module_name, plugin):
        try:
            yield
        except SystemExit as error:
            message = f"Importing {module_name} of {plugin} tried to end the process (SystemExit: {error})."
            raise PluginImportError(message, hints=[f"Disable it: AUTOMODELS_DISABLE={plugin.name}"]) from error
        except Exception as error:
            message = f"Importing {module_name} of {plugin} failed with {type(error).__name__}: {_first_line(error)}"
            raise PluginImportError(message, hints=[f"Run: registry show {plugin.name}"]) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "(no message)")[:300]


@contextmanager
def _guarded_environment(plugin: Plugin) -> Iterator[None]:
    """Undoes changes of AUTOMODELS_ variables: a plugin may not change how plugins are chosen. Others are reported.

    What is registered meanwhile, perhaps by another thread, stays.
    """
    found, since = dict(os.environ), written_so_far()
    try:
        yield
    finally:
        with as_registered(found, since) as before:
            changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
            ours = sorted(name for name in changed if name.startswith("AUTOMODELS_"))
            for name in ours:
                if name in before:
                    os.environ[name] = before[name]
                else:
                    del os.environ[name]
        if ours:
            logger.warning("Plugin %s changed %s while it was imported; undone.", plugin.name, ", ".join(ours))
        if others := sorted(changed - set(ours)):
            logger.info("Importing plugin %s changed the environment: %s.", plugin.name, ", ".join(others))


@contextmanager
def _named_when_slow(module_name: str, plugin: Plugin) -> Iterator[None]:
    message = "Importing %s of plugin %s has taken %g s so far; AUTOMODELS_DISABLE=%s leaves it out."
    arguments = (message, module_name, plugin.name, SLOW_IMPORT_SECONDS, plugin.name)
    timer = threading.Timer(SLOW_IMPORT_SECONDS, logger.warning, arguments)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _foreign_hook(plugin: Plugin, hook: str) -> Iterator[None]:
    try:
        yield
    except AutomodelsError:  # the plugin speaks our language
        raise
    except (Exception, SystemExit) as error:
        message = f"The hook {hook} of {plugin} failed with {type(error).__name__}: {_first_line(error)}"
        raise PluginHookError(message, hints=[f"Disable it: AUTOMODELS_DISABLE={plugin.name}"]) from error
