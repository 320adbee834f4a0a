"""The fields of a config class as its source has them: name, type, default, limits, and the docstring below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from automodels_cli.sources.modules import Found, Module, Sources, Unreadable

GENERIC = ("automodels.config", "PretrainedConfig")
_ROOTS = {GENERIC, ("automodels.json_config", "JsonConfig")}
_ANCESTORS = 20  # classes above one config
_SPELLING_OUT = 400  # parts of types that are replaced by what they stand for
_TEXT = 2_000  # characters of a docstring or a default


@dataclass(frozen=True, kw_only=True)
class ConfigField:
    """One field, as it is written."""

    name: str
    type: str
    default: str | None
    """Source of the default; None when a value has to be given."""

    limits: tuple[str, ...]
    doc: str | None
    owner: str
    """Name of the class that declares it."""

    generic: bool
    """Whether every config has it."""

    def described(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name": self.name,
            "type": self.type,
            "default": self.default,
            "required": self.default is None,
            "limits": list(self.limits),
            "doc": self.doc,
            "class": self.owner,
            "generic": self.generic,
        }


def config_fields(reference: str, sources: Sources) -> list[ConfigField]:
    """The fields of the class that a reference names, those of its bases first; raises Unreadable."""
    try:
        return _fields(reference, sources)
    except RecursionError as error:
        raise Unreadable("the source is nested too deeply") from error


def _fields(reference: str, sources: Sources) -> list[ConfigField]:
    module, _, name = reference.partition(":")
    if "." in name:
        raise Unreadable(f"{name} is not a class at the top level of {module}")
    fields: dict[str, ConfigField] = {}
    for found in _lineage(sources.find(module, name), sources):
        for each in _own(found, sources):
            fields[each.name] = each
    return list(fields.values())


def _lineage(found: Found, sources: Sources) -> list[Found]:
    """The class and those above it, the topmost first."""
    lineage: list[Found] = []
    waiting = [found]
    while waiting:
        this = waiting.pop(0)
        if this.definition is None:
            raise Unreadable(f"{this.module.name}:{this.name} is not a class")
        if any((this.module.name, this.name) == (other.module.name, other.name) for other in lineage):
            continue
        lineage.append(this)
        if len(lineage) > _ANCESTORS:
            raise Unreadable(f"{found.name} has more than {_ANCESTORS} classes above it")
        if (this.module.name, this.name) not in _ROOTS:
            waiting += (_base(base, this, sources) for base in this.definition.bases)
    if not any((this.module.name, this.name) in _ROOTS for this in lineage):
        raise Unreadable(f"{found.name} is no {GENERIC[1]}")
    return lineage[::-1]


def _base(base: ast.expr, of: Found, sources: Sources) -> Found:
    while isinstance(base, ast.Subscript):  # Generic[...] and the like
        base = base.value
    found = _located(base, of.module, sources)
    if found is None:
        raise Unreadable(f"a base of {of.name} is {_short(ast.unparse(base))}")
    return found


def _located(node: ast.expr, module: Module, sources: Sources) -> Found | None:
    """Where a name, or a name of an imported module, is defined; None for what is no such name."""
    if isinstance(node, ast.Name):
        return sources.find(module.name, node.id)
    if isinstance(node, ast.Attribute):
        imported = module.imports.get(ast.unparse(node.value))
        if imported is not None:
            source, name = imported
            return sources.find(source if name is None else f"{source}.{name}", node.attr)
    return None


def _own(found: Found, sources: Sources) -> Iterator[ConfigField]:
    assert found.definition is not None
    body = found.definition.body
    for position, statement in enumerate(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name.startswith("_") or name == "model_config" or _is_class_variable(statement.annotation):
            continue
        spelled = _Type(sources)
        annotation = spelled.visited(statement.annotation, found.module)
        default, limits, doc = _value(statement.value)
        yield ConfigField(
            name=name,
            type=_short(ast.unparse(annotation), 200),
            default=default,
            limits=(*dict.fromkeys([*spelled.limits, *limits]),),
            doc=doc or _docstring(body[position + 1] if position + 1 < len(body) else None),
            owner=found.name,
            generic=(found.module.name, found.name) in _ROOTS,
        )


def _is_class_variable(annotation: ast.expr) -> bool:
    return ast.unparse(annotation).partition("[")[0].rpartition(".")[2] == "ClassVar"


def _value(value: ast.expr | None) -> tuple[str | None, list[str], str | None]:
    """Default, limits and description of what stands behind the equals sign."""
    if value is None:
        return None, [], None
    if not _is_call(value, "Field"):
        return _short(ast.unparse(value), _TEXT), [], None
    assert isinstance(value, ast.Call)
    given = {keyword.arg: keyword.value for keyword in value.keywords if keyword.arg}
    default = value.args[0] if value.args else given.get("default")
    text = None if default is None or ast.unparse(default) in ("...", "Ellipsis") else ast.unparse(default)
    if "default_factory" in given:
        text = _made(given["default_factory"])
    described = given.get("description")
    doc = described.value if isinstance(described, ast.Constant) and isinstance(described.value, str) else None
    return None if text is None else _short(text, _TEXT), _limits(value), doc


def _made(factory: ast.expr) -> str:
    if isinstance(factory, ast.Lambda):
        return ast.unparse(factory.body)
    return {"dict": "{}", "list": "[]", "tuple": "()"}.get(ast.unparse(factory), f"{ast.unparse(factory)}()")


def _limits(call: ast.Call) -> list[str]:
    known = ("default", "default_factory", "description", "title", "alias", "strict", "examples", "repr")
    return [
        _short(f"{keyword.arg}={ast.unparse(keyword.value)}")
        for keyword in call.keywords
        if keyword.arg and keyword.arg not in known
    ]


def _is_call(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name


def _docstring(statement: ast.stmt | None) -> str | None:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        text = statement.value.value
        return " ".join(text[:_TEXT].split()) if isinstance(text, str) else None
    return None


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass
class _Type:
    """A type with names such as `Size` replaced by what they stand for; `limits` gets what `Annotated` adds."""

    sources: Sources
    limits: list[str] = field(default_factory=list)
    left: int = _SPELLING_OUT

    def visited(self, node: ast.expr, module: Module) -> ast.expr:
        self.left -= 1
        if self.left < 0:
            raise Unreadable("a type is too long")
        if isinstance(node, ast.Name | ast.Attribute):
            return self._named(node, module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node
        if isinstance(node, ast.Subscript):
            return self._subscript(node, module)
        if isinstance(node, ast.BinOp):
            return ast.BinOp(self.visited(node.left, module), node.op, self.visited(node.right, module))
        return node

    def _named(self, node: ast.Name | ast.Attribute, module: Module) -> ast.expr:
        try:
            found = _located(node, module, self.sources)
        except Unreadable:  # a builtin, or of a library
            return node
        if found is None or found.value is None:
            return node
        return self.visited(found.value, found.module)

    def _subscript(self, node: ast.Subscript, module: Module) -> ast.expr:
        head = ast.unparse(node.value).rpartition(".")[2]
        if head == "Literal":
            return node
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if head == "Annotated" and parts:
            self.limits += (limit for part in parts[1:] for limit in self._limits_of(part))
            return self.visited(parts[0], module)
        inner = [self.visited(part, module) for part in parts]
        return ast.Subscript(node.value, ast.Tuple(inner, ast.Load()) if len(inner) != 1 else inner[0], ast.Load())

    @staticmethod
    def _limits_of(part: ast.expr) -> list[str]:
        if _is_call(part, "Field"):
            assert isinstance(part, ast.Call)
            return _limits(part)
        return [_short(ast.unparse(part))]
