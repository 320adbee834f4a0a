"""A Sphinx extension: lists of arguments in docstrings, which are written as Google does, become lists on the page."""

from __future__ import annotations

import re
from typing import Any

_ARGUMENT = re.compile(r"    (\w+): (.*)")


def with_fields(_app: Any, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Rewrites the block below `Args:` in place; what is not indented ends it."""
    if "Args:" not in lines:
        return
    start = lines.index("Args:")
    end = next((place for place in range(start + 1, len(lines)) if lines[place][:1].strip()), len(lines))
    fields = [_ARGUMENT.sub(r":param \1: \2", line) for line in lines[start + 1 : end]]
    lines[start:end] = ["", *fields, ""]


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", with_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
