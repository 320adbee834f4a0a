"""A key map as its source has it: the rows of the table, the prefix, older spellings, buffers."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from automodels_cli.sources.modules import Module, Sources, Unreadable

_WORK = 50_000  # parts that are looked at for one key map; ours have a few hundred
_DEPTH = 50
_ARGUMENTS = ("prefix", "older", "buffers", "alternates")


@dataclass(frozen=True, kw_only=True)
class KeyMapTable:
    """What a `KeyMap` is called with."""

    rows: tuple[tuple[str, str, str], ...]
    """(tensor, parameter, layout)."""

    prefix: str = ""
    older: tuple[tuple[str, str], ...] = ()
    buffers: tuple[str, ...] = ()
    alternates: tuple[tuple[str, str], ...] = ()

    def described(self) -> dict[str, object]:
        """For JSON."""
        return {
            "rows": [{"tensor": row[0], "parameter": row[1], "layout": row[2]} for row in self.rows],
            "prefix": self.prefix,
            "older": [{"ending": old, "today": new} for old, new in self.older],
            "buffers": list(self.buffers),
            "alternates": [{"tensor": one, "stands_for": other} for one, other in self.alternates],
        }


def key_map(reference: str, sources: Sources) -> KeyMapTable:
    """The table that a reference names; raises Unreadable when it is not written out."""
    try:
        return _table(reference, sources)
    except RecursionError as error:
        raise Unreadable("the source is nested too deeply") from error


def _table(reference: str, sources: Sources) -> KeyMapTable:
    module, _, name = reference.partition(":")
    found = sources.find(module, name)
    call = found.value
    if not isinstance(call, ast.Call) or ast.unparse(call.func).rpartition(".")[2] != "KeyMap":
        raise Unreadable(f"{name} is not written as KeyMap(…)")
    values = _Values(sources)
    rows = values.items(call.args, found.module, 0)
    given: dict[str, Any] = {}
    for keyword in call.keywords:
        value = values.of(keyword.value, found.module, 0)
        given |= {keyword.arg: value} if keyword.arg else value if isinstance(value, dict) else {}
    if given.keys() - set(_ARGUMENTS):
        raise Unreadable(f"{name} has arguments that no key map has")
    try:
        return KeyMapTable(
            rows=tuple((_text(tensor), _text(parameter), _layout(layout)) for tensor, parameter, layout in rows),
            prefix=_text(given.get("prefix", "")),
            older=_pairs(given.get("older", ())),
            buffers=tuple(_text(each) for each in given.get("buffers", ())),
            alternates=_pairs(given.get("alternates", ())),
        )
    except (TypeError, ValueError) as error:
        raise Unreadable(f"a row of {name} is not (tensor, parameter, layout)") from error


def _pairs(given: Any) -> tuple[tuple[str, str], ...]:
    return tuple((_text(one), _text(other)) for one, other in given)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of a text")
    return value


def _layout(value: Any) -> str:
    return _text(value).rpartition(".")[2].lower()


@dataclass
class _Values:
    """Values of expressions that consist of texts, numbers, tuples, lists, sets, dicts, and names of such."""

    sources: Sources
    left: int = field(default=_WORK)

    def of(self, node: ast.expr, module: Module, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > _DEPTH:
            raise Unreadable("the table is too long, or nested too deeply")
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return tuple(self.items(parts, module, depth + 1))
            case ast.Dict(keys=keys, values=values):
                return self._mapping(keys, values, module, depth + 1)
            case ast.Name(id=name):
                found = self.sources.find(module.name, name)
                if found.value is None:
                    raise Unreadable(f"{name} is not written out")
                return self.of(found.value, found.module, depth + 1)
            case ast.Attribute(value=ast.Name(id="Layout"), attr=name):
                return f"Layout.{name}"
        raise Unreadable(f"a part is computed, line {node.lineno} of {module.name}")

    def items(self, parts: list[ast.expr], module: Module, depth: int) -> list[Any]:
        found: list[Any] = []
        for part in parts:
            if isinstance(part, ast.Starred):
                inner = self.of(part.value, module, depth)
                if not isinstance(inner, tuple):
                    raise Unreadable(f"a part is computed, line {part.lineno} of {module.name}")
                self.left -= len(inner)
                found += inner
            else:
                found.append(self.of(part, module, depth))
        return found

    def _mapping(
        self, keys: list[ast.expr | None], values: list[ast.expr], module: Module, depth: int
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in zip(keys, values, strict=True):
            inner = self.of(value, module, depth)
            if key is None:
                found |= inner if isinstance(inner, dict) else {}
            elif isinstance(name := self.of(key, module, depth), str):
                found[name] = inner
        return found
