"""`registry completion SHELL`: a script that lets a shell complete the command line."""

from __future__ import annotations

import importlib
from argparse import Namespace

from automodels_cli.arguments import parser
from automodels_cli.completion.routes import routes
from automodels_cli.exit_codes import FINE
from automodels_cli.output import Output


def run(arguments: Namespace, output: Output) -> int:
    """Prints the script."""
    shell = importlib.import_module(f"automodels_cli.completion.{arguments.shell}")
    lines = list(shell.script(list(routes(parser()))))
    if output.as_json:
        output.document("completion", {"shell": arguments.shell, "script": "\n".join(lines) + "\n"})
        return FINE
    for line in lines:
        output.line(line)
    return FINE
