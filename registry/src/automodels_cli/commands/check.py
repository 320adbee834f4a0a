"""`registry check PLUGIN`: what is wrong with a project, a wheel, or an installed plugin."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.distribution_checks import distribution_findings
from automodels_cli.checking.manifest_checks import manifest_findings
from automodels_cli.checking.opening import opened
from automodels_cli.checking.reference_checks import reference_findings
from automodels_cli.exit_codes import ATTENTION, FINE
from automodels_cli.findings import Finding
from automodels_cli.output import Output


def run(arguments: Namespace, output: Output) -> int:
    """Prints every problem, then every note; exit code 1 when there is a problem."""
    levels = ["static"]
    with opened(arguments.subject) as candidate:
        found = list(static_findings(candidate))
        if arguments.imports or arguments.run:
            from automodels_cli.checking.dynamic_checks import dynamic_findings

            steps = [name for name, asked in (("imports", True), ("run", arguments.run)) if asked]
            levels += steps
            found += dynamic_findings(candidate, steps, timeout=arguments.timeout, output=output)
        found = sorted(dict.fromkeys(found), key=lambda finding: not finding.problem)
        _print(candidate, found, levels, output)
    return ATTENTION if any(finding.problem for finding in found) else FINE


def static_findings(candidate: Candidate) -> Iterator[Finding]:
    """Everything that can be found without running any of its code."""
    yield from candidate.early
    yield from distribution_findings(candidate)
    yield from manifest_findings(candidate)
    yield from reference_findings(candidate)


def _print(candidate: Candidate, found: list[Finding], levels: list[str], output: Output) -> None:
    distribution = candidate.distribution
    problems = [finding for finding in found if finding.problem]
    if output.as_json:
        content = {
            "ok": not problems,
            "subject": candidate.origin,
            "form": candidate.kind,
            "distribution": candidate.name,
            "version": distribution.version,
            "plugins": [plugin.name for plugin in candidate.plugins],
            "levels": levels,
            "findings": [finding.described() for finding in found],
        }
        output.document("check", content)
        return
    notes = [finding for finding in found if not finding.problem]
    for title, group in (("problems", problems), ("notes", notes)):
        if group:
            output.line(title)
            output.fields([(finding.subject, str(finding)) for finding in group])
            output.line()
    counts = (
        f"{len(problems)} problem{'' if len(problems) == 1 else 's'}, {len(notes)} note{'' if len(notes) == 1 else 's'}"
    )
    output.line(f"{candidate.name} {distribution.version} ({candidate.kind}; {', '.join(levels)}): {counts}.")
