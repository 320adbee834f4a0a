"""The variable AUTOMODELS_REGISTERED: registrations that reach other processes, as references.

Child processes inherit variables, so what stands here is registered in every worker, however it is started. Reading it
imports nothing; a class is imported when it is chosen. Two forms, separated by `;`::

    model_type/task/framework=package.config:ConfigClass,package.modeling:ModelClass
    model_type=package.config:ConfigClass
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from automodels.errors import InputError, RegistrationError
from automodels.plugins.manifest import FRAMEWORKS, NAME, REFERENCE
from automodels.plugins.scan import shown

VARIABLE = "AUTOMODELS_REGISTERED"
ITEMS = 512  # as many as one manifest may offer
_lock = threading.RLock()
_written: list[str | None] = []  # by this process, the last at the end; None for removing the variable
_ITEM = re.compile(
    rf"(?P<model_type>{NAME.pattern})(?:/(?P<task>{NAME.pattern})/(?P<framework>{'|'.join(FRAMEWORKS)}))?"
    rf"=(?P<references>{REFERENCE.pattern}(?:,{REFERENCE.pattern})?)",
    re.ASCII,
)

Key = tuple[str, ...]
"""(model type, task, framework) of a model, (model type,) of a config."""


def inherited() -> dict[Key, tuple[str, ...]]:
    """What stands in the variable: key → references, of config and model. Raises InputError when it is malformed."""
    return dict(_parsed(os.environ.get(VARIABLE, "")))


def hand_on(key: Key, references: tuple[str, ...]) -> bool:
    """Adds an item to the variable; False when it stands there already. Raises RegistrationError for another one."""
    with _lock:
        there = inherited()
        if key in there:
            if there[key] != references:
                raise RegistrationError(f"{VARIABLE} names {', '.join(there[key])} for {'/'.join(key)} already.")
            return False
        _write({**there, key: references})
    return True


def take_back(key: Key) -> None:
    """Removes an item from the variable; one that is not there is none."""
    with _lock:
        there = inherited()
        if there.pop(key, None) is not None:
            _write(there)


def written_so_far() -> int:
    """How often this process has written the variable, for `as_registered`."""
    return len(_written)


@contextmanager
def as_registered(environment: dict[str, str], since: int) -> Iterator[dict[str, str]]:
    """An environment as it was when `written_so_far` gave `since`, and what was registered since then, by any thread.

    Inside the block nobody else registers.
    """
    with _lock:
        if len(_written) == since:
            yield environment
        else:
            others = {name: value for name, value in environment.items() if name != VARIABLE}
            yield others if (last := _written[-1]) is None else {**others, VARIABLE: last}


def reference_of(kind: type) -> str:
    """`module:name`, by which another process finds the class; raises RegistrationError when none would."""
    reference = f"{kind.__module__}:{kind.__qualname__}"
    module = sys.modules.get(kind.__module__)
    if kind.__module__ in ("__main__", "__mp_main__"):
        why = "it stands in the program that is run, which is another module there"
    elif REFERENCE.fullmatch(reference) is None:
        why = f"{shown(reference)} cannot be imported: it was made inside a function"
    elif getattr(module, "__spec__", None) is None:
        why = f"its module {kind.__module__} cannot be imported by name"
    elif _named(module, kind.__qualname__) is not kind:
        why = f"{shown(reference)} is another object"
    else:
        return reference
    raise RegistrationError(
        f"{kind.__module__}.{kind.__qualname__} cannot be registered for workers: {why}.",
        hints=["Define the class at the top of a module that workers can import."],
    )


def _named(module: object, qualified_name: str) -> object:
    """What a dotted name means in a module; None where it means nothing."""
    return functools.reduce(lambda found, name: getattr(found, name, None), qualified_name.split("."), module)


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> tuple[tuple[Key, tuple[str, ...]], ...]:
    found: dict[Key, tuple[str, ...]] = {}
    items = [item.strip() for item in text.split(";", ITEMS + 1) if item.strip()]
    if len(items) > ITEMS:
        raise InputError(f"{VARIABLE} has more than {ITEMS} items.")
    for item in items:
        match = _ITEM.fullmatch(item)
        key = tuple(part for part in (match["model_type"], match["task"], match["framework"]) if part) if match else ()
        references = tuple(match["references"].split(",")) if match else ()
        if len(references) != {1: 1, 3: 2}.get(len(key)):
            raise InputError(
                f"{VARIABLE} has the item {shown(item)}, neither TYPE=CONFIG nor TYPE/TASK/FRAMEWORK=CONFIG,MODEL "
                "with references package.module:Class.",
                hints=[f"It is written by register(…, workers=True); to clear it: unset {VARIABLE}"],
            )
        if found.setdefault(key, references) != references:
            raise InputError(f"{VARIABLE} names two classes for {'/'.join(key)}.")
    return tuple(found.items())


def _write(items: dict[Key, tuple[str, ...]]) -> None:
    if len(items) > ITEMS:
        raise RegistrationError(f"More than {ITEMS} classes cannot be registered for workers.")
    text = ";".join(f"{'/'.join(key)}={','.join(references)}" for key, references in items.items())
    _written.append(text or None)
    if text:
        os.environ[VARIABLE] = text
    else:
        os.environ.pop(VARIABLE, None)
