"""`registry completion SHELL`: a script that lets a shell complete the command line."""

from __future__ import annotations

from argparse import Namespace

from automodels_cli.arguments import parser
from automodels_cli.completion import bash, fish, zsh
from automodels_cli.completion.routes import routes
from automodels_cli.exit_codes import FINE
from automodels_cli.output import Output

_SCRIPTS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def run(arguments: Namespace, output: Output) -> int:
    """Prints the script."""
    lines = list(_SCRIPTS[arguments.shell](list(routes(parser()))))
    if output.as_json:
        output.document("completion", {"shell": arguments.shell, "script": "\n".join(lines) + "\n"})
        return FINE
    for line in lines:
        output.line(line)
    return FINE
