"""What is written for the author to replace, and is recognised by `registry check` where it was not."""

from __future__ import annotations

TITLES = {"flax": "Flax", "torch": "PyTorch"}


def author(name: str) -> str:
    """The author of a plugin called `name`."""
    return f"The {name} authors"


def description(kind: str, framework: str) -> str:
    """The line about a plugin, whose classes' names begin with `kind`."""
    return f"{kind} in {TITLES[framework]}, as a plugin of automodels"
