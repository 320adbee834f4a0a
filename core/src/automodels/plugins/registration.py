"""Entries registered at run time, by `AutoModel.register` and `AutoConfig.register`."""

from __future__ import annotations

import threading
from typing import Any

from automodels.errors import InputError, RegistrationError
from automodels.plugins.entries import FIRST_PARTY, Entry, Plugin
from automodels.plugins.manifest import FRAMEWORKS, NAME
from automodels.plugins.scan import normalized, shown

_lock = threading.Lock()
_configs: dict[str, type] = {}
_entries: dict[tuple[str, str, str], Entry] = {}


def registered_entries() -> tuple[Entry, ...]:
    """Every entry registered in this process, in the order of registration."""
    return tuple(_entries.values())


def registered_config(model_type: str) -> Any:
    """The config class registered for a model type in this process, or None."""
    return _configs.get(model_type)


def register_config(model_type: object, config_class: type) -> None:
    """Names the config class of a model type; repeating the same call changes nothing.

    Raises RegistrationError when another class is registered for it, or the class says another model type.
    """
    if not isinstance(model_type, str) or NAME.fullmatch(model_type) is None:
        raise InputError(f"{shown(model_type)} cannot be a model type: letters, digits, '.', '_' and '-' only.")
    if getattr(config_class, "model_type", None) != model_type:
        said = shown(getattr(config_class, "model_type", None))
        raise RegistrationError(f"{_name(config_class)} has model_type {said}, not {model_type!r}.")
    with _lock:
        first = _configs.setdefault(model_type, config_class)
    if first is not config_class:
        raise RegistrationError(
            f"{_name(first)} is already registered for model type {model_type!r}; {_name(config_class)} is another one."
        )


def register_model(task: str, config_class: Any, model_class: Any, framework: str | None = None) -> None:
    """Offers `model_class` for the model type of `config_class` and a task; repeating the same call changes nothing.

    An installed plugin that offers the same keeps its rights: the two are then ambiguous until one is chosen. Raises
    RegistrationError when another class is registered for the same model type, task and framework.
    """
    for given in (config_class, model_class):
        if not isinstance(given, type):
            raise InputError(f"register takes two classes, not {shown(given)}.")
    said = getattr(model_class, "framework", framework)
    if said not in FRAMEWORKS:
        known = ", ".join(FRAMEWORKS)
        raise RegistrationError(f"{_name(model_class)} has framework {shown(said)}, not one of {known}.")
    if framework not in (None, said):
        raise RegistrationError(f"{_name(model_class)} is for {said}, this auto class for {framework}.")
    framework = said
    model_type = getattr(config_class, "model_type", None)
    if not isinstance(model_type, str) or NAME.fullmatch(model_type) is None:
        raise RegistrationError(f"{_name(config_class)} has model_type {shown(model_type)}, which is not a name.")
    entry = Entry(
        plugin=_owner(model_class),
        model_type=model_type,
        task=task,
        framework=framework,
        config=config_class,
        model=model_class,
        architectures=(model_class.__name__,),
    )
    with _lock:
        first = _entries.setdefault((model_type, task, framework), entry)
    if (first.model, first.config) != (model_class, config_class):
        assert isinstance(first.model, type)
        raise RegistrationError(
            f"{_name(first.model)} is already registered for {task} of {model_type!r} in {framework}; "
            f"{_name(model_class)} is another one."
        )


def forget_registrations() -> None:
    """Removes everything that was registered in this process; for tests."""
    with _lock:
        _configs.clear()
        _entries.clear()


def _owner(model_class: type) -> Plugin:
    """A registered class belongs to no manifest; it is called after its top-level package."""
    package = model_class.__module__.partition(".")[0]
    name = package if normalized(package) not in FIRST_PARTY else f"{package}.registered"
    return Plugin(name=name, version="registered", location=model_class.__module__, editable=False, manifest=None)


def _name(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '?')}.{getattr(kind, '__qualname__', shown(kind))}"
