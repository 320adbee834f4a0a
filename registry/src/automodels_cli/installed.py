"""The catalog as the commands take it: what is wrong with the settings is said on stderr."""

from __future__ import annotations

from automodels.errors import InputError, nearest
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.manifest import FRAMEWORKS
from automodels_cli.output import Output


def installed(output: Output) -> Catalog:
    """The catalog of this environment; raises InputError when a variable or the project file is malformed."""
    catalog = load_catalog()
    for problem in catalog.warnings:
        output.note(f"warning: {problem}")
    return catalog


def checked_framework(name: str | None) -> str | None:
    """The argument `--framework`; raises InputError when there is no such framework."""
    if name is None or name in FRAMEWORKS:
        return name
    guess = nearest(name, FRAMEWORKS)
    hints = [f"Did you mean {guess!r}?"] if guess else []
    raise InputError(f"--framework is {name!r}, not one of {', '.join(FRAMEWORKS)}.", hints=hints)
