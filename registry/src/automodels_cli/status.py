"""The status of plugins and of what they offer, in one word and with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin


@dataclass(frozen=True, kw_only=True)
class Status:
    """One of `automodels_cli.arguments.looking.STATUSES`, and why."""

    word: str
    reason: str | None = None
    code: str | None = None
    """Code of the problem, where there is one."""

    def __str__(self) -> str:
        if self.word == "empty":
            return "offers nothing yet"
        if self.reason and self.reason.startswith(self.word):
            return self.reason
        return self.word.replace("-", " ") + (f": {self.reason}" if self.reason else "")

    def described(self) -> dict[str, str | None]:
        """For JSON."""
        return {"status": self.word, "reason": self.reason, "code": self.code}


def plugin_status(plugin: Plugin) -> Status:
    """Whether the plugin may be used at all."""
    problem = plugin.fatal
    if problem is None:
        return Status(word=plugin.state)
    return Status(word=plugin.state, reason=problem.message, code=problem.code)


def offer_status(plugin: Plugin, requires: Sequence[str], catalog: Catalog) -> Status:
    """Whether something that the plugin offers could be used."""
    status = plugin_status(plugin)
    if status.word != "ok":
        return status
    missing = catalog.unmet(requires)
    return status if missing is None else Status(word="missing-requirement", reason=missing)
