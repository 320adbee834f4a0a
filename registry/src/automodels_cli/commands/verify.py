"""`registry verify NAME`: everything that is wrong with a checkpoint's files."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from automodels.checkpoint.defects import Defect, VerifyReport
from automodels.checkpoint.verify import verify
from automodels_cli.exit_codes import BAD_CHECKPOINT, FINE
from automodels_cli.fetching import located
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.progress import progress, size


def run(arguments: Namespace, output: Output) -> int:
    """Prints files and defects; the exit code says whether the checkpoint can be used."""
    log_to(output)
    location = located(arguments.name, arguments, output)
    with progress("verifying", output) as bar:
        found = verify(
            location.directory,
            variant=arguments.variant,
            finite=arguments.finite,
            sha256=arguments.sha256,
            progress=bar,
        )
    if output.as_json:
        output.document("verify", {"name": arguments.name, "commit": location.commit, **_described(found)})
    else:
        _print(arguments.name, found, arguments.sha256, output)
    return FINE if found.ok else BAD_CHECKPOINT


def _described(found: VerifyReport) -> dict[str, Any]:
    return {
        "directory": str(found.directory),
        "ok": found.ok,
        "format": found.format,
        "naming": found.naming,
        "variant": found.variant,
        "tensors": found.tensors,
        "nbytes": found.nbytes,
        "finite": found.finite,
        "files": [
            {"name": file.name, "size": file.size, "tensors": file.tensors, "sha256": file.sha256}
            for file in found.files
        ],
        "defects": [_defect(defect) for defect in found.defects],
        "seconds": round(found.seconds, 4),
    }


def _defect(defect: Defect) -> dict[str, Any]:
    return {
        "file": defect.file or None,
        "kind": defect.kind,
        "message": defect.message,
        "tensors": list(defect.tensors),
        "hints": list(defect.hints),
        "breaks": defect.breaks,
    }


def _print(name: str, found: VerifyReport, sha256: bool, output: Output) -> None:
    headers = ("FILE", "SIZE", "TENSORS", *(["SHA256"] if sha256 else []))
    rows = [
        (file.name, size(file.size), str(file.tensors or "-"), *([file.sha256 or "-"] if sha256 else []))
        for file in found.files
    ]
    output.table(headers, rows)
    problems = [defect for defect in found.defects if defect.breaks]
    notes = [defect for defect in found.defects if not defect.breaks]
    for title, group in (("problems", problems), ("notes", notes)):
        if group:
            output.line()
            output.line(title)
            output.fields([(defect.file or "-", " ".join([defect.message, *defect.hints])) for defect in group])
    output.line()
    if problems:
        output.line(f"{name}: {len(problems)} problem{'' if len(problems) == 1 else 's'} found.")
        return
    values = ", all values finite" if found.finite else ""
    output.line(f"{name}: ok, {found.tensors} tensors, {size(found.nbytes)}{values}.")
