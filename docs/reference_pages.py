"""Pages of the reference: every name that the plugin API promises, with its signature and docstring, by autodoc."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.pycode import ModuleAnalyzer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugin_api"))

import signatures

PAGES = {
    "automodels": "Auto classes and choosing",
    "configs": "Config classes",
    "errors": "Error classes",
    "checkpoints": "Checkpoints and key maps",
    "plugins": "Plugins, backends, outputs",
    "flax_runtime": "The Flax runtime",
    "torch_runtime": "The PyTorch runtime",
    "testing": "Test suites and fixtures",
}
BY_START = {
    "automodels.config": "configs",
    "automodels.families": "configs",
    "automodels.errors": "errors",
    "automodels.checkpoint": "checkpoints",
    "flax": "flax_runtime",
    "torch": "torch_runtime",
}
"""How the names of modules begin → the page."""

FOREIGN = "BaseModel, Module, Exception, BaseException, OSError, object, dict, Mapping, tuple, Protocol, ABC, Enum"
"""Classes whose members are somebody else's."""


def page_of(module: str) -> str:
    """The page on which a module's names stand."""
    if ".testing" in module:
        return "testing"
    if module == "automodels":
        return "automodels"
    return next((page for start, page in BY_START.items() if module.startswith(start)), "plugins")


def write_reference(directory: Path) -> None:
    """Writes all pages."""
    names = {part: signatures.promised(part) for part in signatures.PARTS}
    homes = {reference: home(reference) for part in names.values() for reference in part}
    for page, title in PAGES.items():
        parts = [heading(title, "=")]
        if page == "errors":
            parts.append(importlib.import_module("automodels.errors").__doc__.split("\n\n", 1)[1])
        for module in dict.fromkeys(reference.partition(":")[0] for reference in homes):
            if page_of(module) == page:
                parts += section(module, [found for found in homes.items() if found[0].startswith(f"{module}:")])
        (directory / f"{page}.rst").write_text("\n".join(parts), encoding="utf-8")


def home(reference: str) -> str:
    """`module:name` of the place at which something that several modules have is described: where it is defined."""
    module, _, name = reference.partition(":")
    value = getattr(importlib.import_module(module), name)
    defined = f"{getattr(value, '__module__', module)}:{name}"
    everything = {found for part in signatures.PARTS for found in signatures.promised(part)}
    return defined if defined in everything else reference


def section(module: str, names: Iterable[tuple[str, str]]) -> list[str]:
    """What a module has; what is described elsewhere is a link there."""
    parts = [heading(f"``{module}``", "-"), f".. currentmodule:: {module}\n"]
    elsewhere = [there.replace(":", ".") for here, there in names if here != there]
    if elsewhere:
        parts.append("Also here: " + ", ".join(f":py:obj:`~{name}`" for name in elsewhere) + ".\n")
    for here, there in names:
        if here == there:
            parts.append(described(*here.split(":")))
    return parts


def described(module: str, name: str) -> str:
    """The directive of autodoc for one name."""
    value: Any = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return class_described(value, module, name)
    if inspect.isroutine(value) and not hasattr(value, "_pytestfixturefunction"):
        return f".. autofunction:: {name}\n"
    text = (
        getattr(value, "__doc__", "") if callable(value) and hasattr(value, "__wrapped__") else value_text(module, name)
    )
    return f".. py:data:: {name}\n\n   " + " ".join((text or "").split()) + "\n"


def class_described(kind: type, module: str, name: str) -> str:
    """The directive for a class; what it has from a class that is described elsewhere is described there."""
    if issubclass(kind, Exception):
        return f".. autoexception:: {name}\n"
    bases = [base for base in kind.__mro__[1:] if base in described_classes()]
    stop = ", ".join([FOREIGN, *(base.__name__ for base in bases)])
    lines = [f".. autoclass:: {name}", f"   :inherited-members: {stop}"]
    if issubclass(kind, BaseModel):
        lines[0] += "(**fields)"
        lines.append("   :exclude-members: model_config, model_post_init")
    if getattr(kind, "_is_protocol", False):
        lines[0] += "()"
        lines.append("   :special-members: __call__")
    if bases:
        place = described_classes()[bases[0]]
        lines += ["", f"   With all that :py:obj:`~{place}` has."]
    return "\n".join([*lines, ""])


@functools.cache
def described_classes() -> dict[type, str]:
    """Class → its name in the reference."""
    found = {}
    for part in signatures.PARTS:
        for reference in signatures.promised(part):
            place, _, name = home(reference).partition(":")
            value = getattr(importlib.import_module(place), name)
            if inspect.isclass(value):
                found[value] = f"{place}.{name}"
    return found


def value_text(module: str, name: str) -> str:
    """What stands below a value in the module that defines it: autodoc would describe the value's type."""
    for place in (module, "automodels.json_config"):
        documented = ModuleAnalyzer.for_module(place).find_attr_docs()
        if ("", name) in documented:
            return " ".join(documented["", name])
    raise ValueError(f"{module}:{name} has no docstring below it")


def heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"
