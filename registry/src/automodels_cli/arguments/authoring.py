"""Arguments of the commands for authors of plugins: new, check."""

from __future__ import annotations

from typing import Any

from automodels_cli.arguments.forms import command

FRAMEWORKS = ("flax", "torch")


def add(commands: Any) -> None:
    """Declares them, in the order of the help."""
    _add_new(commands)
    _add_check(commands)


def _add_new(commands: Any) -> None:
    this = command(commands, "new", "write a plugin to begin with: a small model, its tests, everything around it")
    this.add_argument("name", help="of the plugin, such as flax-nano: small letters, digits, and '-'")
    this.add_argument("--framework", choices=FRAMEWORKS, required=True, help="%(choices)s")
    this.add_argument(
        "--model-type", metavar="TYPE", help="as in config.json (default: the name without the framework's)"
    )
    this.add_argument(
        "--class-name", metavar="C", help="what names of classes begin with, such as GPT2 (default: of the model type)"
    )
    this.add_argument("--license", metavar="ID", default="Apache-2.0", help="an SPDX identifier (default: %(default)s)")
    this.add_argument("--directory", metavar="D", help="a new or empty directory (default: the name)")


def _add_check(commands: Any) -> None:
    this = command(commands, "check", "what is wrong with a plugin, before it is published or after")
    this.add_argument(
        "subject", metavar="PLUGIN", help="a project directory, a wheel, or the name of an installed plugin"
    )
    this.add_argument("--imports", action="store_true", help="import what the manifest names, in another process")
    this.add_argument(
        "--run", action="store_true", help="build, save, load and call the manifest's tiny models; runs its code"
    )
    this.add_argument(
        "--timeout", type=_seconds, default=300, metavar="S", help="of each process, in seconds (default: %(default)s)"
    )


def _seconds(text: str) -> int:
    from automodels_cli.arguments.forms import whole

    return whole(1)(text)
