"""Entries registered at run time, by `AutoModel.register` and `AutoConfig.register`.

A registration is seen by the whole process. It belongs to the `with registrations()` block, or to none, of each call
that made it, and goes when the last of them ends. With `workers=True`, other processes inherit it through a variable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from automodels.errors import InputError, RegistrationError
from automodels.plugins.entries import FIRST_PARTY, Entry, Plugin
from automodels.plugins.manifest import FRAMEWORKS, NAME
from automodels.plugins.registered_variable import VARIABLE, Key, hand_on, inherited, reference_of, take_back
from automodels.plugins.scan import normalized, shown


@dataclass(kw_only=True, eq=False)
class _Registration:
    """Classes that were registered for one key, and the blocks that they belong to."""

    classes: tuple[type, ...]
    """The config class; for a model, then the model class."""

    blocks: set[object] = field(default_factory=set)
    """Blocks whose end it awaits; one that is None never ends."""

    handed_on_by: set[object] = field(default_factory=set)
    """Blocks that asked for workers."""

    in_variable: bool = False
    """Whether this process wrote it into the variable."""


_lock = threading.RLock()
_registered: dict[Key, _Registration] = {}
_block: ContextVar[object] = ContextVar("automodels_registrations", default=None)


@contextmanager
def registrations() -> Iterator[None]:
    """What is registered inside the `with` block is undone at its end, also when an exception leaves it.

    Blocks may be nested. Registrations are seen by every thread; the block takes back those that were made by the
    thread (or asyncio task) that entered it. What somebody else registered as well stays until his block ends.
    """
    block = object()
    token = _block.set(block)
    try:
        yield
    finally:
        _block.reset(token)
        _end(block)


def registered_entries(*, inherit: bool = True) -> tuple[Entry, ...]:
    """Every entry registered in this process, in the order of registration; with `inherit`, then those it inherited.

    Imports nothing. Raises InputError when the variable is malformed.
    """
    with _lock:
        mine = {key: kept.classes for key, kept in _registered.items()}
    found: dict[Key, tuple[str | type, ...]] = {**mine}
    for key, references in (inherited() if inherit else {}).items():
        found.setdefault(key, references)
    return tuple(_entry(key, classes) for key, classes in found.items() if len(key) == 3)


def registered_config(model_type: str) -> tuple[str | type, Plugin] | None:
    """The config class registered for a model type, or its reference, and whose it is; None when there is none."""
    with _lock:
        kept = _registered.get((model_type,))
    found: tuple[str | type, ...] | None = kept.classes if kept else inherited().get((model_type,))
    return None if found is None else (found[0], _owner(found[0]))


def register_config(model_type: object, config_class: type, *, workers: bool = False) -> None:
    """Names the config class of a model type; repeating the same call changes nothing.

    Raises RegistrationError when another class is registered for it, the class says another model type, or workers
    could not import it.
    """
    if not isinstance(model_type, str) or NAME.fullmatch(model_type) is None:
        raise InputError(f"{shown(model_type)} cannot be a model type: letters, digits, '.', '_' and '-' only.")
    if getattr(config_class, "model_type", None) != model_type:
        said = shown(getattr(config_class, "model_type", None))
        raise RegistrationError(f"{_name(config_class)} has model_type {said}, not {model_type!r}.")
    first = _register((model_type,), (config_class,), workers)
    if first is not None:
        raise RegistrationError(
            f"{first[0]} is already registered for model type {model_type!r}; {_name(config_class)} is another one."
        )


def register_model(
    task: str, config_class: Any, model_class: Any, framework: str | None = None, *, workers: bool = False
) -> None:
    """Offers `model_class` for the model type of `config_class` and a task; repeating the same call changes nothing.

    An installed plugin that offers the same keeps its rights: the two are then ambiguous until one is chosen. Raises
    RegistrationError when another class is registered for the same model type, task and framework, or workers could
    not import it.
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
    model_type = getattr(config_class, "model_type", None)
    if not isinstance(model_type, str) or NAME.fullmatch(model_type) is None:
        raise RegistrationError(f"{_name(config_class)} has model_type {shown(model_type)}, which is not a name.")
    first = _register((model_type, task, said), (config_class, model_class), workers)
    if first is not None:
        raise RegistrationError(
            f"{first[-1]} is already registered for {task} of {model_type!r} in {said}; "
            f"{_name(model_class)} is another one."
        )


def forget_registrations() -> None:
    """Removes everything that was registered in this process; for tests."""
    with _lock:
        for key, kept in _registered.items():
            if kept.in_variable:
                take_back(key)
        _registered.clear()


def _register(key: Key, classes: tuple[type, ...], workers: bool) -> tuple[str, ...] | None:
    """Registers classes for the block that is open; where others have the place, their names, and nothing is done."""
    if not isinstance(workers, bool):
        raise InputError(f"workers is {shown(workers)}, neither True nor False.")
    references = tuple(reference_of(kind) for kind in classes) if workers else ()
    block = _block.get()
    with _lock:
        kept, there = _registered.get(key), inherited().get(key)
        if kept is not None and kept.classes != classes:
            return tuple(_name(kind) for kind in kept.classes)
        if kept is None and there not in (None, tuple(f"{kind.__module__}:{kind.__qualname__}" for kind in classes)):
            return tuple(f"{reference} ({VARIABLE})" for reference in there or ())
        if workers:
            written = hand_on(key, references)  # first: it may fail, and then nothing was registered
        if kept is None:
            kept = _registered[key] = _Registration(classes=classes)
        kept.blocks.add(block)
        if workers:
            kept.in_variable = kept.in_variable or written
            kept.handed_on_by.add(block)
    return None


def _end(block: object) -> None:
    with _lock:
        for key, kept in list(_registered.items()):
            kept.blocks.discard(block)
            kept.handed_on_by.discard(block)
            if kept.in_variable and not kept.handed_on_by:
                take_back(key)
                kept.in_variable = False
            if not kept.blocks:
                del _registered[key]


def _entry(key: Key, classes: tuple[str | type, ...]) -> Entry:
    (model_type, task, framework), (config, model) = key, classes
    return Entry(
        plugin=_owner(model),
        model_type=model_type,
        task=task,
        framework=framework,
        config=config,
        model=model,
        architectures=(model.__name__ if isinstance(model, type) else model.rpartition(":")[2].rpartition(".")[2],),
    )


def _owner(registered: str | type) -> Plugin:
    """A registered class belongs to no manifest; it is called after its top-level package."""
    module = registered.__module__ if isinstance(registered, type) else registered.partition(":")[0]
    package = module.partition(".")[0]
    name = package if normalized(package) not in FIRST_PARTY else f"{package}.registered"
    return Plugin(name=name, version="registered", location=module, editable=False, manifest=None)


def _name(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '?')}.{getattr(kind, '__qualname__', shown(kind))}"
