"""Signatures of everything that the plugin API promises, as text; and what a change of one breaks.

    python tests/plugin_api/signatures.py core flax torch          compare with the recorded ones
    python tests/plugin_api/signatures.py --write core flax torch  record what is there today

A part is written where its framework is installed. What is promised stands in docs/plugin-api.md; its tables are read
here, so that the page and the record cannot name different things.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "plugin-api.md"
PARTS = {"core": "### The core", "flax": "### The Flax runtime", "torch": "### The PyTorch runtime"}
OURS = ("automodels", "flax_runtime", "torch_runtime", "torch_heads")

Record = dict[str, dict[str, Any]]
"""`module:name` → what it is: its signature, and for a class its members."""


def promised(part: str) -> list[str]:
    """`module:name` for every name in the page's table of a part."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n{PARTS[part]}\n")[1]
    section = re.split(r"\n#{2,3} ", text)[0]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \|$", section, re.MULTILINE)
    return [f"{module}:{name}" for module, cell in rows for name in re.findall(r"`(\w+)`", cell)]


def measured(part: str) -> Record:
    """What is there today, for every promised name that is there at all."""
    found: Record = {}
    for reference in promised(part):
        module, _, name = reference.partition(":")
        value = getattr(importlib.import_module(module), name, None)
        if value is not None:
            found[reference] = described(value)
    return found


def recorded(part: str) -> Record:
    """What 1.x has promised so far."""
    record: Record = json.loads((HERE / f"{part}.json").read_text(encoding="utf-8"))
    return record


def described(value: Any) -> dict[str, Any]:
    """A class with its public members, a function with its signature, anything else as a value."""
    if inspect.isclass(value):
        members = {name: member(value, name) for name in public_names(value)}
        made = {} if issubclass(value, enum.Enum) else {"call": call(value)}
        return {"kind": "class", **made, "members": members}
    if inspect.isroutine(value) and not hasattr(value, "_pytestfixturefunction"):
        return {"kind": "function", "call": call(value)}
    return {"kind": "value"}


def public_names(kind: type) -> list[str]:
    """Names that the classes of this project give to a class: methods, properties, fields and declarations.

    Tests of the conformance suite are none of them: it may grow.
    """
    names: set[str] = set()
    for ancestor in kind.__mro__:
        if ancestor.__module__.partition(".")[0] in OURS:
            names |= {*vars(ancestor), *vars(ancestor).get("__annotations__", {})}
    known = {"__call__"} if "__call__" in names else set()
    return sorted({name for name in names if not name.startswith(("_", "test_"))} | known)


def member(kind: type, name: str) -> str:
    """How a member is used: its signature, or that it is read like a value."""
    value = inspect.getattr_static(kind, name, None)
    if isinstance(value, classmethod | staticmethod):
        return call(getattr(kind, name))
    if inspect.isfunction(value):
        return call(value, of_instance=True)
    return "value"


def call(value: Any, *, of_instance: bool = False) -> str:
    """The parameters as they may be passed; defaults and annotations are left out, being values and not promises."""
    try:
        given = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return "(...)"
    shown = []
    for parameter in given[1:] if of_instance else given:
        if parameter.name.startswith("_") and parameter.name != "_do_init":
            continue
        text = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + parameter.name
        optional = parameter.default is not parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY:
            text = f"{text}:"  # by keyword only
        shown.append(text + ("?" if optional else ""))
    return f"({', '.join(shown)})"


def broken(before: Record, now: Record) -> list[str]:
    """Each promise that is broken, in words; what was only added breaks none."""
    wrong = []
    for reference, promise in before.items():
        if reference not in now:
            wrong.append(f"{reference} is promised by plugin API 1.x and is gone: plugins that import it stop working")
            continue
        wrong += differences(reference, promise, now[reference])
    return wrong


def differences(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a class, a function or a value is no longer as it was promised."""
    if before["kind"] != now["kind"]:
        return [f"{what} was promised as a {before['kind']} and is a {now['kind']}"]
    wrong = [] if "call" not in before else narrowed(what, before["call"], now.get("call", "()"))
    for name, promise in before.get("members", {}).items():
        if name not in now["members"]:
            wrong.append(f"{what}.{name} is promised by plugin API 1.x and is gone")
        elif "value" in (promise, now["members"][name]) and promise != now["members"][name]:
            wrong.append(f"{what}.{name} was promised as {promise} and is {now['members'][name]}")
        elif promise != "value":
            wrong += narrowed(f"{what}.{name}", promise, now["members"][name])
    return wrong


def narrowed(what: str, before: str, now: str) -> list[str]:
    """Why calls that were promised to work no longer do; parameters may be added at the end, or by keyword."""
    if before == now:
        return []
    old, new = ([parameter for parameter in text.strip("()").split(", ") if parameter] for text in (before, now))
    wrong = [f"the parameter {name.strip('?:*')!r} is gone" for name in old if _name(name) not in map(_name, new)]
    for parameter in new:
        known = next((one for one in old if _name(one) == _name(parameter)), None)
        if known is None and not parameter.endswith("?") and not parameter.startswith("*"):
            wrong.append(f"the parameter {_name(parameter)!r} is new and required")
        if known is not None and known.endswith("?") and not parameter.endswith("?"):
            wrong.append(f"the parameter {_name(parameter)!r} is now required")
        if known is not None and ":" not in known and ":" in parameter:
            wrong.append(f"the parameter {_name(parameter)!r} is now taken by keyword only")
    positional = [_name(one) for one in old if not one.startswith("*") and ":" not in one]
    if not wrong and positional != [_name(one) for one in new if not one.startswith("*")][: len(positional)]:
        wrong.append("positional parameters have another order")
    return [f"{what}{before} is promised by plugin API 1.x: {reason}" for reason in wrong]


def _name(parameter: str) -> str:
    return parameter.strip("*?:")


def unlisted(before: Record, now: Record) -> list[str]:
    """What is there and has not been recorded: fine once it is."""
    added = [reference for reference in now if reference not in before]
    for reference, promise in before.items():
        if reference in now and promise != now[reference]:
            members = now[reference].get("members", {})
            new = [name for name in members if members[name] != promise.get("members", {}).get(name)]
            added += [f"{reference}.{name}" for name in new] or [reference]
    return added


def verdict(part: str) -> str:
    """What is wrong with a part, and what to do; empty when everything is as recorded."""
    before, now = recorded(part), measured(part)
    lost = [f"{reference} is named in docs/plugin-api.md and is not there" for reference in promised(part)
            if reference not in now]  # fmt: skip
    lost += [f"{reference} is no longer named in docs/plugin-api.md" for reference in before
             if reference not in promised(part)]  # fmt: skip
    if wrong := [*dict.fromkeys([*lost, *broken(before, now)])]:
        return "\n".join([*wrong, "Keep the old way working and deprecate it, or begin plugin API 2.0."])
    if added := unlisted(before, now):
        return f"not recorded yet: {', '.join(added)}\nRun: python tests/plugin_api/signatures.py --write {part}"
    return ""


def main(arguments: list[str]) -> int:
    parts = [part for part in arguments if part in PARTS]
    if "--write" in arguments:
        for part in parts:
            text = json.dumps(measured(part), indent=1, sort_keys=True, ensure_ascii=False)
            (HERE / f"{part}.json").write_text(text + "\n", encoding="utf-8")
        return 0
    found = [text for part in parts if (text := verdict(part))]
    print("\n".join(found))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
