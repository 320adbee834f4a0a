"""Requirements and version ranges, checked against what is installed without importing it.

Meaning: PEP 440 and PEP 508, as the `packaging` library implements them. Plain cases — releases of numbers and dots,
compared by `>=`, `<`, `>`, `<=` — are answered here, because importing `packaging` takes longer than listing a hundred
plugins; a property test holds the two answers against each other.
"""

from __future__ import annotations

import re
from functools import lru_cache

from automodels.plugins.scan import Distribution, normalized

_VERSION = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}"
_CLAUSE = rf" *(?:>=|<=|<|>) *{_VERSION} *"
_PLAIN_VERSION = re.compile(_VERSION)
_PLAIN_CLAUSE = re.compile(rf" *(>=|<=|<|>) *({_VERSION}) *")
_PLAIN_REQUIREMENT = re.compile(rf" *([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) *((?:{_CLAUSE}(?:,{_CLAUSE})*)?)")


@lru_cache(maxsize=1024)
def admits(specifier: str, version: str) -> bool:
    """Whether a PEP 440 specifier set (`">=1.0,<2"`) admits a version; raises ValueError when it is malformed."""
    clauses = [_PLAIN_CLAUSE.fullmatch(clause) for clause in specifier.split(",")]
    if not all(clauses) or not _PLAIN_VERSION.fullmatch(version):
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(specifier).contains(version, prereleases=True)
    have = _release(version)
    for clause in clauses:
        assert clause is not None  # all() above
        operator, bound = clause[1], _release(clause[2])
        if not {">=": have >= bound, "<=": have <= bound, "<": have < bound, ">": have > bound}[operator]:
            return False
    return True


def unmet(requirement: str, installed: dict[str, Distribution]) -> str | None:
    """Why a PEP 508 requirement does not hold for the installed distributions, or None when it does.

    A requirement whose marker does not apply here holds. Raises ValueError when it is malformed.
    """
    plain = _PLAIN_REQUIREMENT.fullmatch(requirement)
    if plain is not None:
        name, specifier = plain[1], plain[2].strip()
    else:
        from packaging.requirements import Requirement

        parsed = Requirement(requirement)
        if parsed.marker is not None and not parsed.marker.evaluate():
            return None
        name, specifier = parsed.name, str(parsed.specifier)
    found = installed.get(normalized(name))
    if found is None:
        return f"{name} is not installed (needs {requirement.strip()})"
    if specifier and not _admits_installed(specifier, found.version):
        return f"{found.name} {found.version} is installed, needs {requirement.strip()}"
    return None


def _admits_installed(specifier: str, version: str) -> bool:
    try:
        return admits(specifier, version)
    except ValueError:
        from packaging.specifiers import SpecifierSet

        SpecifierSet(specifier)  # a malformed requirement is the plugin's fault and raises
        return False  # a malformed installed version satisfies nothing


def _release(text: str) -> tuple[int, ...]:
    """A release without trailing zeros, so that 1.0 equals 1."""
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
