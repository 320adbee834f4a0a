"""The licence of a new plugin: its SPDX identifier, and its text where the templates have it."""

from __future__ import annotations

import re
from importlib import resources

from automodels.errors import InputError
from automodels.plugins.scan import shown

DEFAULT = "Apache-2.0"
_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.+-]{0,62}[A-Za-z0-9+])?", re.ASCII)


def licence(identifier: str) -> str:
    """The identifier as SPDX spells it: `mit` → `MIT`; `LicenseRef-…` for one that is in no list.

    Raises InputError for what is none.
    """
    found = _spelled(identifier) if _IDENTIFIER.fullmatch(identifier) else None
    if found is None:
        raise InputError(
            f"{shown(identifier)} is no SPDX identifier of a licence.",
            hints=[f"Pass one of https://spdx.org/licenses, such as {DEFAULT}; or LicenseRef- and a name of your own."],
        )
    return found


def licence_text(identifier: str) -> str | None:
    """The text of the licence; None where the templates do not have it."""
    file = resources.files("automodels_cli").joinpath("templates", "licences", f"{identifier}.template")
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _spelled(identifier: str) -> str | None:
    try:
        from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
    except ImportError:  # before packaging 24.2; the build has a list of its own
        return identifier
    try:
        return str(canonicalize_license_expression(identifier))
    except InvalidLicenseExpression:
        return None
