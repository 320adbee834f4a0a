"""A Sphinx extension: arguments in docstrings, written as Google does, become lists; long values are left out."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 80  # characters of a value that are shown
_ARGUMENT = re.compile(r"    (\w+): (.*)")


def with_fields(_app: Any, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Rewrites the block below `Args:` in place; what is not indented ends it."""
    if "Args:" not in lines:
        return
    start = lines.index("Args:")
    end = next((place for place in range(start + 1, len(lines)) if lines[place][:1].strip()), len(lines))
    fields = [_ARGUMENT.sub(r":param \1: \2", line) for line in lines[start + 1 : end]]
    lines[start:end] = ["", *fields, ""]


def shorten_values(_app: Any, page: Any) -> None:
    """Replaces the values of declarations that nobody reads on a page."""
    from docutils.nodes import Text
    from sphinx.addnodes import desc_annotation

    for node in page.findall(desc_annotation):
        if len(text := node.astext()) > LONGEST and text.startswith(" = "):
            node.clear()
            node += Text(" = …")


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", with_fields)
    app.connect("doctree-read", shorten_values)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
