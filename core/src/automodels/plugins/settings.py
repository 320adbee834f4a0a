"""What the user decided about plugins: allow and deny lists, safe and strict mode, the preferred framework, pins.

Collected for one decision from four places; the first one that speaks wins: `with policy(...)` and `with pin(...)`, the
environment, the project file `automodels.toml` in the working directory or above it, the defaults.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from automodels.errors import InputError, nearest
from automodels.plugins.names import check_name, checked_framework
from automodels.plugins.project_file import Project, nearest_project
from automodels.plugins.scan import printable, shown

VARIABLES = (
    "AUTOMODELS_PLUGINS",
    "AUTOMODELS_DISABLE",
    "AUTOMODELS_SAFE_MODE",
    "AUTOMODELS_STRICT",
    "AUTOMODELS_FRAMEWORK",
    "AUTOMODELS_LOCK",
    "AUTOMODELS_REGISTERED",
)
PIN_PREFIX = "AUTOMODELS_PIN_"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A decision for one plugin."""

    plugin: str
    source: str
    """Where it was decided, for messages."""


@dataclass(frozen=True, kw_only=True)
class Denial:
    """A decision against one plugin."""

    plugin: str
    source: str
    """Where it was decided, for messages."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides among plugins, besides the arguments of a call."""

    allow: tuple[str, ...] | None = None
    """Only these plugins; None means all."""

    denials: tuple[Denial, ...] = ()
    """Never these; they win over `allow`."""

    safe_mode: bool = False
    """Only the plugins that are published together with automodels."""

    strict: bool = False
    """Broken plugins and unknown names are errors instead of warnings."""

    framework: str | None = None
    pins: tuple[tuple[str, Pin], ...] = ()
    """(model type as in a variable name, decision), the strongest first."""

    project_file: str | None = None
    """The project file in force."""

    lock: str | None = None
    """The lock file that every decision must agree with."""

    @property
    def deny(self) -> tuple[str, ...]:
        """The plugins that are denied, each once."""
        return tuple(dict.fromkeys(denial.plugin for denial in self.denials))

    def denial(self, plugin: str) -> Denial | None:
        """The first decision against a plugin."""
        return next((denial for denial in self.denials if denial.plugin == plugin), None)

    def pin(self, model_type: str) -> Pin | None:
        """The strongest pin for a model type."""
        wanted = variable_part(model_type)
        return next((decision for name, decision in self.pins if name == wanted), None)

    def named_plugins(self) -> Iterator[tuple[str, str]]:
        """(plugin, where it is named) for every plugin that the settings mention."""
        yield from ((name, "AUTOMODELS_PLUGINS or policy(allow=...)") for name in self.allow or ())
        yield from ((denial.plugin, denial.source) for denial in self.denials)
        yield from ((decision.plugin, decision.source) for _, decision in self.pins)


_changes: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("automodels_policy", default=())
_pins: ContextVar[tuple[tuple[str, Pin], ...]] = ContextVar("automodels_pins", default=())


@contextmanager
def pin(model_type: str, plugin: str) -> Iterator[None]:
    """Inside the `with` block, checkpoints of `model_type` are loaded by `plugin`.

    Stronger than the environment and the project file, weaker than the argument `plugin=`. Raises InputError when a
    name has an impossible form.
    """
    check_name("model type", model_type)
    check_name("plugin", plugin)
    decision = Pin(plugin=plugin, source=f"pin({model_type!r}, {plugin!r})")
    token = _pins.set(((variable_part(model_type), decision), *_pins.get()))
    try:
        yield
    finally:
        _pins.reset(token)


@contextmanager
def policy(
    *,
    allow: tuple[str, ...] | list[str] | None = None,
    deny: tuple[str, ...] | list[str] | None = None,
    safe_mode: bool | None = None,
    strict: bool | None = None,
    lock: str | os.PathLike[str] | None = None,
) -> Iterator[None]:
    """Inside the `with` block, only some plugins may be chosen; arguments left out keep their value.

    Applied before anything is imported. `lock` is a lock file that every decision must agree with. Raises InputError
    when a name has an impossible form.
    """
    for argument, names in (("allow", allow), ("deny", deny)):
        if isinstance(names, str):
            raise InputError(f"{argument} is the string {shown(names)}, not a list of plugins.")
        for name in names or ():
            check_name("plugin", name)
    given = {
        "allow": None if allow is None else tuple(allow),
        "denials": tuple(Denial(plugin=name, source="policy(deny=...)") for name in deny or ()),
        "safe_mode": safe_mode,
        "strict": strict,
        "lock": None if lock is None else _lock(lock),
    }
    token = _changes.set((*_changes.get(), {key: value for key, value in given.items() if value is not None}))
    try:
        yield
    finally:
        _changes.reset(token)


def current_settings(environ: Mapping[str, str] | None = None, directory: str | None = None) -> Settings:
    """The settings in force now; raises InputError when a variable or the project file is malformed."""
    environ = os.environ if environ is None else environ
    project = nearest_project(directory) or Project()
    file = printable(project.path)
    disabled = [(name, "AUTOMODELS_DISABLE") for name in _names(environ, "AUTOMODELS_DISABLE") or ()]
    disabled += [(name, file) for name in project.disable]
    settings = Settings(
        allow=_names(environ, "AUTOMODELS_PLUGINS"),
        denials=tuple(Denial(plugin=name, source=source) for name, source in disabled),
        safe_mode=_flag(environ, "AUTOMODELS_SAFE_MODE"),
        strict=_flag(environ, "AUTOMODELS_STRICT"),
        framework=checked_framework(environ.get("AUTOMODELS_FRAMEWORK"), "AUTOMODELS_FRAMEWORK") or project.framework,
        pins=(*_pins.get(), *_environment_pins(environ), *_project_pins(project, file)),
        project_file=file or None,
        lock=environ.get("AUTOMODELS_LOCK", "").strip() or None,
    )
    for change in _changes.get():
        # Denying adds up: code inside a block cannot allow what the environment or an outer block denies.
        settings = replace(settings, **{**change, "denials": (*settings.denials, *change["denials"])})
    return settings


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like ours and mean nothing, each with the nearest one that does."""
    environ = os.environ if environ is None else environ
    messages = []
    for name in sorted(environ):
        if name.startswith("AUTOMODELS_") and name not in VARIABLES and not name.startswith(PIN_PREFIX):
            guess = nearest(name, VARIABLES)
            messages.append(f"{name} is not a variable of automodels" + (f"; did you mean {guess}?" if guess else ""))
    return messages


def variable_part(model_type: str) -> str:
    """A model type as it stands in AUTOMODELS_PIN_<TYPE>."""
    return re.sub(r"[^A-Za-z0-9]", "_", model_type).upper()


def _names(environ: Mapping[str, str], variable: str) -> tuple[str, ...] | None:
    if variable not in environ:
        return None
    return tuple(part.strip() for part in environ[variable].split(",") if part.strip())


def _flag(environ: Mapping[str, str], variable: str) -> bool:
    value = environ.get(variable, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise InputError(f"{variable} is {shown(environ[variable])}, neither 1 nor 0.", hints=[f"Set {variable}=1."])


def _environment_pins(environ: Mapping[str, str]) -> Iterator[tuple[str, Pin]]:
    for name in sorted(environ):
        if name.startswith(PIN_PREFIX) and environ[name].strip():
            yield variable_part(name[len(PIN_PREFIX) :]), Pin(plugin=environ[name].strip(), source=name)


def _project_pins(project: Project, file: str) -> Iterator[tuple[str, Pin]]:
    for model_type, plugin in project.pins:
        yield variable_part(model_type), Pin(plugin=plugin, source=file)


def _lock(given: object) -> str:
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise InputError(f"lock is {shown(given)}, not the path of a lock file.")
    return str(os.fspath(given))
