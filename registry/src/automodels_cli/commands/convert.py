"""`registry convert SOURCE TARGET`: a checkpoint in another format, other shards, other names, another type."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from automodels.checkpoint.convert import ConvertReport, convert
from automodels.errors import InputError, listed
from automodels_cli.exit_codes import FINE
from automodels_cli.fetching import fetch_beside, located
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.progress import progress, size

DEEPEST = 200  # folders; making thousands of them one below the other ends in a recursion


def run(arguments: Namespace, output: Output) -> int:
    """Prints what was written."""
    log_to(output)
    if len(Path(arguments.target).parts) > DEEPEST:
        raise InputError(f"The target lies more than {DEEPEST} folders deep.")
    location = located(arguments.source, arguments, output)
    fetch_beside(location)
    with progress("converting", output) as bar:
        done = convert(
            location.directory,
            arguments.target,
            format=arguments.format,
            naming=arguments.naming,
            max_shard_size=_bytes_or_text(arguments.max_shard_size),
            dtype=arguments.dtype,
            variant=arguments.variant,
            progress=bar,
        )
    if output.as_json:
        output.document("convert", _described(arguments.source, done))
    else:
        _print(done, output)
    return FINE


def _bytes_or_text(given: str) -> int | str:
    return int(given) if given.isascii() and given.isdigit() else given


def _described(source: str, done: ConvertReport) -> dict[str, Any]:
    return {
        "source": source,
        "target": str(done.target),
        "format": {"from": done.source_format, "to": done.format},
        "naming": {"from": done.source_naming, "to": done.naming},
        "files": list(done.saved.files),
        "removed": list(done.saved.removed),
        "tensors": done.saved.tensors,
        "nbytes": done.saved.total_size,
        "cast": list(done.cast),
        "buffers": list(done.buffers),
        "left_out": list(done.left_out),
        "seconds": round(done.saved.seconds, 4),
    }


def _print(done: ConvertReport, output: Output) -> None:
    weights = [name for name in done.saved.files if name not in done.copied]
    output.line(str(done.target))
    output.fields(
        [
            ("weights", listed(weights, limit=6)),
            ("tensors", f"{done.saved.tensors}, {size(done.saved.total_size)}"),
            ("format", _change(done.source_format, done.format)),
            ("naming", _change(done.source_naming, done.naming)),
            ("cast", f"{len(done.cast)} tensors" if done.cast else ""),
            ("copied", listed(done.copied, limit=6)),
            ("removed", listed(done.saved.removed, limit=6)),
            ("buffers", f"left out: {listed(done.buffers, limit=4)}" if done.buffers else ""),
            ("not copied", listed(done.left_out, limit=6)),
        ]
    )
    speed = done.saved.total_size / max(done.saved.seconds, 1e-3)
    output.note(f"Written in {done.saved.seconds:.2f} s, {size(speed)}/s.")


def _change(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"
