"""English prose that ships with Python: paragraphs of its reference, of docstrings, and of comments."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data import topics

# Left out because some distributors of Python put them into packages of their own, so that they may not be there.
OPTIONAL = {"ensurepip", "idlelib", "lib2to3", "test", "tkinter", "turtledemo"}
LEAST_WORDS = 6
LEAST_LETTERS = 0.9  # of all characters; below it, a paragraph is mostly code, tables or formulas


def documents() -> dict[str, str]:
    """The prose of each module and of each topic of the language reference, a paragraph a line, by name.

    No paragraph occurs twice. With one version of Python the result is always the same.
    """
    seen: set[str] = set()
    sources = itertools.chain(_topics(), _modules())
    found = {name: "\n".join(_new_prose(texts, seen)) for name, texts in sources}
    return {name: text for name, text in found.items() if text}


def _topics() -> Iterator[tuple[str, list[str]]]:
    for name, text in sorted(topics.topics.items()):
        yield f"topic {name}", [text]


def _modules() -> Iterator[tuple[str, list[str]]]:
    root = Path(sysconfig.get_path("stdlib"))
    names = sys.stdlib_module_names - OPTIONAL
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        place = path.relative_to(root)
        if place.parts[0].removesuffix(".py") in names and not OPTIONAL.intersection(place.parts):
            yield place.as_posix(), _explanations(path.read_bytes())


def _explanations(source: bytes) -> list[str]:
    """Docstrings and blocks of comments, in their order."""
    try:
        with warnings.catch_warnings(action="ignore"):  # old modules have invalid escapes
            tree = ast.parse(source)
        lines = source.decode("utf-8").splitlines()
    except (SyntaxError, UnicodeDecodeError):  # some are broken on purpose, others are not in UTF-8
        return []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    docstrings = [(node.body[0].lineno, ast.get_docstring(node) or "") for node in nodes]
    return [text for _, text in sorted([*_comments(lines), *docstrings])]


def _comments(lines: list[str]) -> Iterator[tuple[int, str]]:
    numbered = enumerate((line.strip() for line in lines), start=1)
    for is_comment, block in itertools.groupby(numbered, key=lambda line: line[1].startswith("#")):
        if is_comment:
            rows = list(block)
            yield rows[0][0], "\n".join(line.lstrip("#").strip() for _, line in rows)


def _new_prose(texts: Iterable[str], seen: set[str]) -> Iterator[str]:
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            joined = " ".join(paragraph.split())
            if _is_prose(joined) and joined not in seen:
                seen.add(joined)
                yield joined


def _is_prose(paragraph: str) -> bool:
    """Whether it begins and ends as sentences do, and consists of words."""
    words = paragraph.split()
    if len(words) < LEAST_WORDS or not paragraph[0].isupper() or paragraph[-1] not in ".:!?)":
        return False
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    return letters >= LEAST_LETTERS * len(paragraph)
