"""`registry pull NAME`: downloads what from_pretrained would need, and says where it is."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from automodels.checkpoint.reader import Checkpoint
from automodels.text.files import fetch_tokenizer
from automodels_cli.exit_codes import FINE
from automodels_cli.fetching import fetch_beside, located
from automodels_cli.logs import log_to
from automodels_cli.output import Output
from automodels_cli.progress import size

BESIDE = ("generation_config.json", "config_sentence_transformers.json", "sentence_bert_config.json")


def run(arguments: Namespace, output: Output) -> int:
    """Prints the directory and the files; what is in the cache already is not downloaded again."""
    log_to(output)
    location = located(arguments.name, arguments, output)
    fetch_tokenizer(location)
    fetch_beside(location, *BESIDE)
    checkpoint = Checkpoint.open(location.directory, variant=arguments.variant)
    files = _files(location.directory)
    total = sum(count for _, count in files)
    if output.as_json:
        content = {
            "name": arguments.name,
            "source": location.source,
            "commit": location.commit,
            "directory": str(location.directory),
            "format": checkpoint.format,
            "tensors": len(checkpoint),
            "files": [{"name": name, "size": count} for name, count in files],
            "size": total,
        }
        output.document("pull", content)
        return FINE
    output.line(str(location.directory))
    output.fields([(name, size(count)) for name, count in files])
    of = f", commit {location.commit[:8]}" if location.commit else ""
    output.note(f"{len(files)} files, {size(total)}{of}.")
    return FINE


def _files(directory: Path) -> list[tuple[str, int]]:
    """Visible files with their sizes, those of folders included."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            shown = path.relative_to(directory).as_posix()
            if path.is_file() and not shown.startswith(".") and "/." not in shown:
                found.append((shown, os.stat(path).st_size))
    return sorted(found)
