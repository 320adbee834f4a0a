"""`registry schema [KIND]`: JSON Schemas of the documents that `--json` prints."""

from __future__ import annotations

import json
from argparse import Namespace

from automodels_cli.exit_codes import FINE
from automodels_cli.output import Output
from automodels_cli.schemas import kinds, schema_of


def run(arguments: Namespace, output: Output) -> int:
    """Prints one schema as it stands, or the kinds that there are."""
    if arguments.document is not None:
        content = schema_of(arguments.document)
        if output.as_json:
            output.document("schema", {"document": arguments.document, "content": content})
        else:
            output.line(json.dumps(content, indent=2))
        return FINE
    found = [{"name": kind, "title": schema_of(kind)["title"]} for kind in kinds()]
    if output.as_json:
        output.document("schemas", {"kinds": found})
    else:
        output.table(("KIND", "DESCRIBES"), [(each["name"], each["title"]) for each in found])
    return FINE
