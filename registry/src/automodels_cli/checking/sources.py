"""Sources: modules as files, read by their syntax trees. Nothing is imported.

What counts is what an import would execute: the top level, `if` and `try` and classes in it, and neither the bodies of
functions nor what stands below `if TYPE_CHECKING`.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from automodels.plugins.scan import read_bounded

SOURCE_BYTES = 4 << 20
COMPILED = (".so", ".pyd")
MODULES = 2000  # that are followed from one


class UnparsableError(Exception):
    """A source file is no Python, or too large."""


@dataclass
class Module:
    """What the top level of a source file says."""

    file: str | None
    """None for one that is compiled, which says nothing."""

    names: set[str] = field(default_factory=set)
    imports: list[tuple[str, int]] = field(default_factory=list)
    """(dotted name of a module, line); names imported from a package are listed as modules of it, too."""

    open: bool = False
    """Whether it may have more names: a star import, or a `__getattr__`."""

    tree: ast.Module | None = None


class Sources:
    """The modules below some directories."""

    def __init__(self, path: Sequence[str]) -> None:
        self.path = tuple(path)
        self._read: dict[str, Module | None] = {}

    def has_package(self, name: str) -> bool:
        """Whether a top-level package or module of this name lies there."""
        return self._file(name) is not None

    def module(self, name: str) -> Module | None:
        """The module of a dotted name; None when there is none. Raises UnparsableError."""
        if name not in self._read:
            file = self._file(name)
            self._read[name] = None if file is None else self._parsed(file, name)
        return self._read[name]

    def executed(self, name: str) -> Iterator[tuple[str, str, int, str]]:
        """(imported module, file, line, importer) of all that importing `name` imports, and the packages above it."""
        waiting, seen = [name], set[str]()
        while waiting and len(seen) < MODULES:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            if "." in current:
                waiting.append(current.rpartition(".")[0])
            module = self.module(current)
            if module is None or module.file is None:
                continue
            for imported, line in module.imports:
                yield imported, module.file, line, current
                if self.has_package(imported.partition(".")[0]):
                    waiting.append(imported)

    def _file(self, name: str) -> str | None:
        parts = name.split(".")
        for root in self.path:
            stem = os.path.join(root, *parts)
            if os.path.isdir(stem):
                init = os.path.join(stem, "__init__.py")
                return init if os.path.isfile(init) else stem
            if os.path.isfile(f"{stem}.py"):
                return f"{stem}.py"
            folder = os.path.dirname(stem)
            if os.path.isdir(folder):
                for file in sorted(os.listdir(folder)):
                    if file.endswith(COMPILED) and file.split(".")[0] == parts[-1]:
                        return os.path.join(folder, file)
        return None

    @staticmethod
    def _parsed(file: str, name: str) -> Module:
        if os.path.isdir(file) or file.endswith(COMPILED):
            return Module(file=None, open=file.endswith(COMPILED))
        data = read_bounded(file, SOURCE_BYTES)
        if data is None:
            raise UnparsableError(f"{file} cannot be read, or has more than {SOURCE_BYTES} bytes")
        try:
            tree = ast.parse(data, filename=file)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            said = getattr(error, "msg", "") or " ".join(str(error).split()) or type(error).__name__
            raise UnparsableError(f"{file}{line}: {said}") from error
        module = Module(file=file, tree=tree)
        is_package = os.path.basename(file) == "__init__.py"
        _read_block(tree.body, module, name if is_package else name.rpartition(".")[0], top=True)
        return module


def _read_block(body: Sequence[ast.stmt], module: Module, package: str, *, top: bool) -> None:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _read_import(node, module, package, top=top)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if top:
                module.names.add(node.name)
                module.open |= node.name == "__getattr__"
            if isinstance(node, ast.ClassDef):
                _read_block(node.body, module, package, top=False)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            _read_block(node.orelse, module, package, top=top)
        else:
            if top:
                module.names.update(_assigned(node))
            for inner in _blocks(node):
                _read_block(inner, module, package, top=top)


def _read_import(node: ast.Import | ast.ImportFrom, module: Module, package: str, *, top: bool) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            module.imports.append((alias.name, node.lineno))
            if top:
                module.names.add(alias.asname or alias.name.partition(".")[0])
        return
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    module.imports.append((source, node.lineno))
    for alias in node.names:
        if alias.name == "*":
            module.open = True
            continue
        module.imports.append((f"{source}.{alias.name}", node.lineno))
        if top:
            module.names.add(alias.asname or alias.name)


def _assigned(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target] if node.value is not None else []
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor):
        targets = [node.target]
    else:
        targets = []
    for target in targets:
        yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
