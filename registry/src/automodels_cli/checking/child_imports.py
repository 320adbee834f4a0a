"""Imports of what a manifest names, in the process of a check."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Report = Callable[..., None]
ALWAYS = ("scale",)
KEYWORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "flax": {
        "mask": ("mask",),
        "causal": ("causal",),
        "window": ("window",),
        "bias": ("bias",),
        "dropout": ("dropout_rate", "dropout_rng"),
    },
    "torch": {
        "mask": ("mask",),
        "padding": ("mask",),
        "causal": ("is_causal",),
        "window": ("window",),
        "bias": ("bias",),
        "dropout": ("dropout",),
    },
}
"""Framework → feature that a backend declares → arguments that its function is then called with."""


class Wall:
    """Refuses imports of frameworks, and notes who wanted one first."""

    def __init__(self, forbidden: frozenset[str]) -> None:
        self.forbidden = forbidden
        self.attempts: dict[str, str] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """As of any finder of `sys.meta_path`."""
        top = name.partition(".")[0]
        if top not in self.forbidden:
            return
        stack = [frame for frame in traceback.extract_stack()[:-1] if not frame.filename.startswith("<frozen")]
        place = stack[-1]
        if "importlib" in place.filename and place.name == "find_spec":
            return  # somebody asks whether it is there, which is no import
        self.attempts.setdefault(top, f"{place.filename}:{place.lineno}")
        raise ModuleNotFoundError(f"No module named {name!r} behind the firewall", name=name)


def behind_firewall(report: Report, *, modules: list[str], plugin: str) -> None:
    """Imports modules where no framework can be imported."""
    from automodels.testing.firewall import FRAMEWORKS

    wall = Wall(FRAMEWORKS)
    sys.meta_path.insert(0, wall)
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:
            if not wall.attempts:
                report("C301", plugin, f"{module} cannot be imported: {said(error)}")
    for framework, place in wall.attempts.items():
        where = os.path.relpath(place.rpartition(":")[0], os.path.dirname(os.path.dirname(place)))
        message = f"importing {', '.join(modules)} imports {framework} at {where}:{place.rpartition(':')[2]}"
        report("C204", plugin, f"{message}; configs and key maps have to be readable without a framework")


def import_references(report: Report, *, plugin: str) -> None:
    """Imports every reference of a plugin and looks at what it is."""
    from automodels_cli.checking.child_kinds import looked_at

    found, listed = _references(plugin)
    for reference in listed:
        try:
            thing = _hooks(found) if reference.role == "hooks" else _loaded(found, reference.text)
        except BaseException as error:
            report("C301", plugin, f"{reference.where} is {reference.text}: {said(error)}")
            continue
        for code, message, is_problem in looked_at(reference, thing, found):
            report(code, plugin, message, note=not is_problem)


def _references(plugin: str) -> tuple[Any, list[Any]]:
    from automodels.plugins.catalog import load_catalog
    from automodels.plugins.settings import Settings
    from automodels_cli.checking.references import references

    found = next(one for one in load_catalog(settings=Settings()).plugins if one.name == plugin and one.manifest)
    assert found.manifest is not None
    return found, list(dict.fromkeys(references(found.manifest)))


def _loaded(plugin: Any, reference: str) -> Any:
    from automodels.plugins.host import load_reference

    return load_reference(reference, plugin)


def _hooks(plugin: Any) -> Any:
    from automodels.plugins.host import activate

    return activate(plugin)


def accepts(function: Callable[..., Any], framework: str, supports: tuple[str, ...]) -> str | None:
    """Why a backend's function cannot be called with what it declares, or None."""
    names = dict.fromkeys(name for feature in supports for name in KEYWORDS[framework].get(feature, ()))
    try:
        inspect.signature(function).bind("q", "k", "v", **dict.fromkeys((*names, *ALWAYS)))
    except TypeError as error:
        return str(error)
    except ValueError:  # a compiled function tells nothing
        return None
    return None


def said(error: BaseException) -> str:
    """An error in a line."""
    lines = str(error).splitlines() or ["(no message)"]
    return f"{type(error).__name__}: {lines[0][:300]}"
