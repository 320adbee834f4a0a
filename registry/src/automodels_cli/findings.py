"""What is worth saying about an installation: problems, which somebody should solve, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from automodels.errors import AutomodelsError
from automodels.plugins.catalog import Catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.package_files import unreadable_entry_points
from automodels.plugins.problems import Problem
from automodels_cli.remedies import install, remedy


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found."""

    problem: bool
    """Whether something does not work because of it."""

    subject: str
    message: str
    code: str | None = None
    remedy: str | None = None
    """What to do, or to run, next."""

    def __str__(self) -> str:
        text = f"[{self.code}] {self.message}" if self.code else self.message
        return f"{text.rstrip('.')}. {self.remedy}" if self.remedy else text

    def described(self) -> dict[str, object]:
        """For JSON."""
        level = "problem" if self.problem else "note"
        facts = {"level": level, "subject": self.subject, "code": self.code, "message": self.message}
        return {**facts, "remedy": self.remedy}


def findings(catalog: Catalog) -> list[Finding]:
    """Everything that was found, problems first."""
    found = [
        *(_of_settings(each) for each in catalog.warnings),
        *_of_lock(catalog.settings.lock),
        *(finding for plugin in catalog.plugins for finding in _of_plugin(plugin, catalog)),
        *_of_distributions(catalog),
    ]
    return sorted(found, key=lambda finding: not finding.problem)


def _of_settings(problem: Problem) -> Finding:
    next_step = remedy(problem.code, "")
    return Finding(problem=True, subject="settings", message=problem.message, code=problem.code, remedy=next_step)


def _of_lock(path: str | None) -> Iterator[Finding]:
    """A lock file in force that cannot be read: every load ends with that."""
    if path is None:
        return
    from automodels.locking.lock_file import read_lock

    try:
        read_lock(path)
    except AutomodelsError as error:
        next_step = " ".join(error.hints) or None
        yield Finding(problem=True, subject="lock file", message=error.message, code=error.code, remedy=next_step)


def _of_plugin(plugin: Plugin, catalog: Catalog) -> Iterator[Finding]:
    for each in plugin.problems:
        broken = each.fatal and each.code != "P302"  # what was disabled on purpose is in order
        next_step = remedy(each.code, plugin.name)
        yield Finding(problem=broken, subject=plugin.name, message=each.message, code=each.code, remedy=next_step)
    if plugin.state == "empty":
        yield Finding(problem=False, subject=plugin.name, message="offers nothing yet")
    if plugin.state != "ok" or plugin.manifest is None:
        return
    offers = [(f"{model.model_type} in {model.framework}", model.requires) for model in plugin.manifest.models]
    offers += [(f"the backend {table.name} of {table.framework}", table.requires) for table in plugin.manifest.backends]
    for what, requires in dict.fromkeys(offers):
        if (missing := catalog.unmet(requires)) is not None:
            unmet = next(each for each in requires if catalog.unmet([each]) is not None)
            message = f"{what} cannot be used: {missing}"
            yield Finding(problem=True, subject=plugin.name, message=message, remedy=install(unmet))


def _of_distributions(catalog: Catalog) -> Iterator[Finding]:
    """Damage and shadows: they matter where a plugin is concerned, elsewhere they are merely said."""
    scan = catalog.scan
    ours = {"automodels", "automodels-cli", *(point.distribution.normalized for point in scan.entry_points)}
    for distribution in scan.distributions.values():
        ours_says_so = any(each.code == "P101" for each in distribution.problems)
        if not ours_says_so and (wrong := unreadable_entry_points(distribution)) is not None:
            yield Finding(
                problem=True,
                subject=distribution.name,
                message=f"{wrong}; libraries that look for plugins, such as jax and torch, fail because of it",
                remedy=remedy("P101", distribution.normalized),
            )
        for each in distribution.problems:
            if not each.fatal:  # fatal ones are the plugin's, and said there
                matters = distribution.normalized in ours
                yield Finding(
                    problem=matters,
                    subject=distribution.name,
                    message=each.message,
                    code=each.code,
                    remedy=remedy(each.code, distribution.normalized),
                )
    for distribution in scan.shadowed:
        first = scan.distributions[distribution.normalized]
        yield Finding(
            problem=distribution.normalized in ours,
            subject=distribution.name,
            message=f"{distribution.metadata} is shadowed by {first.name} {first.version} in {first.site}",
            code="P104",
            remedy=remedy("P104", distribution.normalized),
        )
