"""Modules as syntax trees, found by path arithmetic: nothing of a plugin is imported to say what stands in it."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import automodels
from automodels.plugins.package_files import package_directory
from automodels.plugins.scan import Distribution, normalized, read_bounded

SOURCE_BYTES = 1 << 19  # half a mebibyte; the largest module of ours has a twentieth of it
NODES = 50_000  # of one module's syntax tree
IMPORTS = 20  # followed for one name


class Unreadable(Exception):  # noqa: N818  # an answer, which the command prints
    """Something cannot be told from the source; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """One parsed module."""

    name: str
    is_package: bool
    assignments: dict[str, ast.expr]
    """Name → value, of the top level; the last one counts, as it does when the module runs."""

    classes: dict[str, ast.ClassDef]
    imports: dict[str, tuple[str, str | None]]
    """Name → (module, name in it); None for a module itself."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a name is defined."""

    module: Module
    name: str

    @property
    def value(self) -> ast.expr | None:
        return self.module.assignments.get(self.name)

    @property
    def definition(self) -> ast.ClassDef | None:
        return self.module.classes.get(self.name)


@dataclass
class Sources:
    """Modules of installed packages, each read once."""

    distributions: Sequence[Distribution]
    packages: dict[str, str] = field(default_factory=dict)
    """Top-level package → its directory, where that is known."""

    _modules: dict[str, Module | Unreadable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.packages = {"automodels": os.path.dirname(automodels.__file__), **self.packages}

    def module(self, name: str) -> Module:
        """The module of a dotted name; raises Unreadable."""
        if name not in self._modules:
            try:
                self._modules[name] = self._read(name)
            except Unreadable as error:
                self._modules[name] = error
        found = self._modules[name]
        if isinstance(found, Unreadable):
            raise found
        return found

    def find(self, module: str, name: str) -> Found:
        """Where a name of a module is defined, however often it was imported on the way; raises Unreadable."""
        wanted = f"{module}:{name}"
        for _ in range(IMPORTS):
            here = self.module(module)
            if name in here.classes or name in here.assignments:
                return Found(module=here, name=name)
            if name not in here.imports:
                raise Unreadable(f"{module} does not define {name} at its top level")
            module, original = here.imports[name]
            if original is None:
                raise Unreadable(f"{wanted} is a module")
            name = original
        raise Unreadable(f"{wanted} is imported through more than {IMPORTS} modules")

    def _read(self, name: str) -> Module:
        package, *rest = name.split(".")
        directory = self._directory(package)
        if directory is None:
            raise Unreadable(f"the package {package} is not there")
        stem = os.path.join(directory, *rest)
        for file, is_package in ((f"{stem}.py", False), (os.path.join(stem, "__init__.py"), True)):
            if os.path.isfile(file):
                return _parsed(name, file, is_package=is_package)
        raise Unreadable(f"the source of {name} is not there")

    def _directory(self, package: str) -> str | None:
        """Where `import` would find a top-level package, as far as directories tell."""
        if package in self.packages:
            return self.packages[package]
        for entry in map(str, sys.path):
            directory = os.path.join(entry, package)
            if os.path.isdir(directory):
                return self.packages.setdefault(package, directory)
        for distribution in self.distributions:
            if distribution.normalized == normalized(package):
                directory = package_directory(distribution, package) or ""
                return self.packages.setdefault(package, directory) if directory else None
        return None


def _parsed(name: str, file: str, *, is_package: bool) -> Module:
    data = read_bounded(file, SOURCE_BYTES)
    if data is None:
        raise Unreadable(f"the source of {name} cannot be read, or has more than {SOURCE_BYTES >> 10} KiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in somebody else's strings
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"the source of {name} is no Python that can be read here") from error
    if sum(1 for _ in ast.walk(tree)) > NODES:
        raise Unreadable(f"the source of {name} is too large")
    module = Module(name=name, is_package=is_package, assignments={}, classes={}, imports={})
    for statement in _top_level(tree.body):
        _enter(statement, module)
    return module


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the module, those under a condition too: names for type checkers stand under one."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from _top_level([*statement.orelse, *statement.body])
        elif isinstance(statement, ast.Try):
            yield from _top_level([*(each for handler in statement.handlers for each in handler.body), *statement.body])


def _enter(statement: ast.stmt, module: Module) -> None:
    match statement:
        case ast.ClassDef(name=name):
            module.classes[name] = statement
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            module.assignments[name] = value
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            module.assignments.update(
                {name.id: value for name, value in zip(names, values, strict=True) if isinstance(name, ast.Name)}
            )
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            module.assignments[name] = value
        case ast.ImportFrom(module=source, names=names, level=level):
            absolute = _absolute(module, source or "", level)
            module.imports.update({each.asname or each.name: (absolute, each.name) for each in names})
        case ast.Import(names=names):
            module.imports.update({each.asname: (each.name, None) for each in names if each.asname})
            module.imports.update({each.name: (each.name, None) for each in names if not each.asname})


def _absolute(module: Module, source: str, level: int) -> str:
    if level == 0:
        return source
    parts = module.name.split(".")
    kept = parts[: len(parts) - level + module.is_package]
    return ".".join([*kept, *([source] if source else [])])
