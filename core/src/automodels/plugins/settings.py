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
from automodels.plugins.manifest import FRAMEWORKS, NAME, parse_toml
from automodels.plugins.scan import printable, read_bounded, shown

PROJECT_FILE = "automodels.toml"
PROJECT_BYTES = 64 << 10
VARIABLES = (
    "AUTOMODELS_PLUGINS",
    "AUTOMODELS_DISABLE",
    "AUTOMODELS_SAFE_MODE",
    "AUTOMODELS_STRICT",
    "AUTOMODELS_FRAMEWORK",
)
PIN_PREFIX = "AUTOMODELS_PIN_"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A decision for one plugin."""

    plugin: str
    source: str
    """Where it was decided, for messages."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides among plugins, besides the arguments of a call."""

    allow: tuple[str, ...] | None = None
    """Only these plugins; None means all."""

    deny: tuple[str, ...] = ()
    """Never these; wins over `allow`."""

    safe_mode: bool = False
    """Only the plugins that are published together with automodels."""

    strict: bool = False
    """Broken plugins and unknown names are errors instead of warnings."""

    framework: str | None = None
    pins: tuple[tuple[str, Pin], ...] = ()
    """(model type as in a variable name, decision), the strongest first."""

    project_file: str | None = None
    """The project file in force."""

    def pin(self, model_type: str) -> Pin | None:
        """The strongest pin for a model type."""
        wanted = variable_part(model_type)
        return next((decision for name, decision in self.pins if name == wanted), None)

    def named_plugins(self) -> Iterator[tuple[str, str]]:
        """(plugin, where it is named) for every plugin that the settings mention."""
        yield from ((name, "AUTOMODELS_PLUGINS or policy(allow=...)") for name in self.allow or ())
        yield from ((name, "AUTOMODELS_DISABLE or policy(deny=...)") for name in self.deny)
        yield from ((decision.plugin, decision.source) for _, decision in self.pins)


_changes: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("automodels_policy", default=())
_pins: ContextVar[tuple[tuple[str, Pin], ...]] = ContextVar("automodels_pins", default=())


@contextmanager
def pin(model_type: str, plugin: str) -> Iterator[None]:
    """Inside the `with` block, checkpoints of `model_type` are loaded by `plugin`.

    Stronger than the environment and the project file, weaker than the argument `plugin=`. Raises InputError when a
    name has an impossible form.
    """
    _check_name("model type", model_type)
    _check_name("plugin", plugin)
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
) -> Iterator[None]:
    """Inside the `with` block, only some plugins may be chosen; arguments left out keep their value.

    Applied before anything is imported. Raises InputError when a name has an impossible form.
    """
    for argument, names in (("allow", allow), ("deny", deny)):
        if isinstance(names, str):
            raise InputError(f"{argument} is the string {shown(names)}, not a list of plugins.")
        for name in names or ():
            _check_name("plugin", name)
    given = {
        "allow": None if allow is None else tuple(allow),
        "deny": None if deny is None else tuple(deny),
        "safe_mode": safe_mode,
        "strict": strict,
    }
    token = _changes.set((*_changes.get(), {key: value for key, value in given.items() if value is not None}))
    try:
        yield
    finally:
        _changes.reset(token)


def current_settings(environ: Mapping[str, str] | None = None, directory: str | None = None) -> Settings:
    """The settings in force now; raises InputError when a variable or the project file is malformed."""
    environ = os.environ if environ is None else environ
    project_file, project_framework, project_pins = _project(directory)
    settings = Settings(
        allow=_names(environ, "AUTOMODELS_PLUGINS"),
        deny=_names(environ, "AUTOMODELS_DISABLE") or (),
        safe_mode=_flag(environ, "AUTOMODELS_SAFE_MODE"),
        strict=_flag(environ, "AUTOMODELS_STRICT"),
        framework=_framework(environ.get("AUTOMODELS_FRAMEWORK"), "AUTOMODELS_FRAMEWORK") or project_framework,
        pins=(*_pins.get(), *_environment_pins(environ), *project_pins),
        project_file=project_file,
    )
    for change in _changes.get():
        # Denying adds up: code inside a block cannot allow what the environment or an outer block denies.
        settings = replace(settings, **{**change, "deny": (*settings.deny, *change.get("deny", ()))})
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


def _check_name(what: str, name: object, *, where: str = "") -> None:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise InputError(
            f"{where}{shown(name)} cannot be the name of a {what}: letters, digits, '.', '_' and '-' only."
        )


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


def _framework(value: object, source: str) -> str | None:
    if value is None or value == "":
        return None
    if value not in FRAMEWORKS:
        raise InputError(f"{source} is {shown(value)}, not one of {', '.join(FRAMEWORKS)}.")
    return str(value)


def _environment_pins(environ: Mapping[str, str]) -> Iterator[tuple[str, Pin]]:
    for name in sorted(environ):
        if name.startswith(PIN_PREFIX) and environ[name].strip():
            yield variable_part(name[len(PIN_PREFIX) :]), Pin(plugin=environ[name].strip(), source=name)


def _project(directory: str | None) -> tuple[str | None, str | None, list[tuple[str, Pin]]]:
    """Path, framework and pins of the nearest project file; one with `schema` is a manifest and passed by."""
    try:
        here = os.path.abspath(directory or os.getcwd())
    except OSError:  # the working directory was removed
        return None, None, []
    while True:
        file = os.path.join(here, PROJECT_FILE)
        data = read_bounded(file, PROJECT_BYTES)
        if data is not None:
            raw = _toml(data, printable(file))
            if "schema" not in raw:
                return printable(file), *_project_values(raw, printable(file))
        elif os.path.isfile(file):
            raise InputError(f"{printable(file)} cannot be read, or is larger than {PROJECT_BYTES} bytes.")
        parent = os.path.dirname(here)
        if parent == here:
            return None, None, []
        here = parent


def _toml(data: bytes, file: str) -> dict[str, Any]:
    try:
        return parse_toml(data)
    except ValueError as error:
        raise InputError(f"{file} is not TOML: {error}.") from error


def _project_values(raw: dict[str, Any], file: str) -> tuple[str | None, list[tuple[str, Pin]]]:
    for key in raw:
        if key not in ("framework", "pins"):
            raise InputError(f"{file} has the unknown key {shown(key)}; it may have 'framework' and a table [pins].")
    pins = raw.get("pins", {})
    if not isinstance(pins, dict):
        raise InputError(f"pins in {file} is not a table of model type = plugin.")
    for model_type, plugin in pins.items():
        _check_name("model type", model_type, where=f"{file}: ")
        _check_name("plugin", plugin, where=f"{file}: ")
    framework = _framework(raw.get("framework"), f"framework in {file}")
    return framework, [(variable_part(name), Pin(plugin=plugin, source=file)) for name, plugin in pins.items()]
