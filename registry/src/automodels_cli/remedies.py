"""What to do about a problem, by its code: the next command, or whom to ask."""

from __future__ import annotations

_UPGRADE = "Run: pip install --upgrade {name}; meanwhile: AUTOMODELS_DISABLE={name}"
_AGAIN = "Run: pip install --force-reinstall {name}"
_REMEDIES = {
    "P101": _AGAIN,
    "P102": _UPGRADE,
    "P103": _AGAIN,
    "P104": "Keep one of them: pip uninstall {name}, in each environment or directory that has it",
    "P105": _AGAIN,
    "P201": _AGAIN,
    "P301": "Run: pip install --upgrade automodels {name}",
    "P302": "To use it again, undo the setting",
    "P303": "Run: registry list --names",
}


def remedy(code: str | None, name: str) -> str | None:
    """The next step for a problem of a plugin or distribution; None where there is none to name."""
    if code is None:
        return None
    found = _REMEDIES.get(code, _UPGRADE if code.startswith("P2") else None)
    return found.format(name=name) if found else None


def install(requirement: str) -> str:
    """How a requirement that does not hold is met."""
    return f"Run: pip install '{requirement}'"
