"""The repository itself, as the rules about it see it: distributions, sources, pages."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"


@dataclass(frozen=True)
class Distribution:
    """One folder with a `pyproject.toml`."""

    folder: Path

    @property
    def project(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]

    @property
    def package(self) -> Path:
        """The one package below `src`."""
        (package,) = [path for path in (self.folder / "src").iterdir() if path.is_dir() and "." not in path.name]
        return package

    @property
    def is_plugin(self) -> bool:
        return self.folder.parent == PLUGINS

    def __str__(self) -> str:
        return str(self.folder.relative_to(ROOT))


FOLDERS = [ROOT / "core", ROOT / "registry", *sorted(file.parent for file in PLUGINS.glob("*/pyproject.toml"))]
DISTRIBUTIONS = [Distribution(folder) for folder in FOLDERS]


@dataclass(frozen=True)
class Source:
    """One module, parsed and not imported."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(ast.parse(self.path.read_text()))

    def imports(self) -> set[str]:
        """Dotted names of everything that is imported anywhere in the module, with the names taken from it."""
        names = set()
        for node in self.nodes():
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        return names

    def imports_any(self, modules: set[str]) -> list[str]:
        """What is imported from some modules or from below them."""
        return sorted(name for name in self.imports() if any(f"{name}.".startswith(f"{module}.") for module in modules))

    def calls(self) -> set[str]:
        """Names of what is called, without what stands before the last dot; not `eval` of torch's modules."""
        functions = [node.func for node in self.nodes() if isinstance(node, ast.Call)]
        functions = [one for one in functions if not (isinstance(one, ast.Attribute) and one.attr == "eval")]
        return {
            function.attr if isinstance(function, ast.Attribute) else function.id
            for function in functions
            if isinstance(function, ast.Attribute | ast.Name)
        }

    def strings(self) -> set[str]:
        return {node.value for node in self.nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def sources(*folders: str) -> list[Source]:
    """Every module below some folders of the repository."""
    return [Source(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.fixture(params=DISTRIBUTIONS, ids=str)
def distribution(request: pytest.FixtureRequest) -> Distribution:
    """Each distribution of the repository."""
    return request.param


@pytest.fixture(params=[found for found in DISTRIBUTIONS if found.is_plugin], ids=str)
def plugin(request: pytest.FixtureRequest) -> Distribution:
    """Each distribution that is a plugin."""
    return request.param


@pytest.fixture
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def distributions() -> list[Distribution]:
    """All distributions of the repository."""
    return DISTRIBUTIONS


@pytest.fixture
def modules() -> Any:
    """Finds the modules below folders of the repository."""
    return sources


@pytest.fixture
def rows(repository: Path) -> Any:
    """Reads the rows of the tables on a page, as lists of cells; `under` is the heading that they stand below."""

    def read(page: str, under: str | None = None) -> list[list[str]]:
        text = (repository / page).read_text()
        if under is not None:
            level = under.split()[0]
            text = text.split(f"\n{under}\n")[1].split(f"\n{level} ")[0]
        lines = [line.replace(r"\|", "¦") for line in text.splitlines() if line.startswith("|")]
        return [[cell.strip().replace("¦", "|") for cell in line.strip("|").split("|")] for line in lines]

    return read
