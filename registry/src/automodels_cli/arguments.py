"""The arguments of every command. Only argparse is imported: help is answered before anything else is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

STATUSES = ("ok", "empty", "broken", "incompatible", "disabled", "missing-requirement")

_EXIT_CODES = """\
exit codes:
    0  fine
    1  attention needed: doctor found a problem, or nothing matches what list was asked for
    2  the command line, an environment variable, or the project file is malformed
    3  not found: an unknown model type, plugin, or task, or a checkpoint that is not there
    4  ambiguous, or no plugin that could be used
    5  a checkpoint or its config is broken
    6  a plugin failed, or a library or backend is missing
   70  an internal error, or stdout cannot be written
  130  interrupted (Ctrl-C)
  141  the reader of stdout went away

Data goes to stdout, everything else to stderr. With --json, stdout holds one JSON document, errors included.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are raised like all others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        from automodels.errors import InputError

        raise InputError(message, hints=[f"Run: {self.prog} --help"])


def parsed(given: Sequence[str]) -> argparse.Namespace:
    """The arguments, `module` among them: the module of the command. Raises InputError when they are malformed."""
    root = parser()
    arguments, rest = root.parse_known_args(given)
    if "text" in arguments:
        # argparse before Python 3.13 gives up on a list of texts once an option stands between the model and them.
        split = rest.index("--") if "--" in rest else len(rest)
        texts = [word for word in rest[:split] if not word.startswith("-") or " " in word] + rest[split + 1 :]
        arguments.text = [*arguments.text, *texts]
        rest = [word for word in rest[:split] if word not in texts]
    if rest:
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    return arguments


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    root = _Parser(prog="registry", description="What models are installed, and why you get the class you get.")
    root.epilog = _EXIT_CODES
    root.add_argument("--version", action="store_true", help="print the version and exit")
    _add_common(root, default=False)
    # Without `prog`, argparse formats a usage message to find it out, which takes milliseconds.
    commands = root.add_subparsers(metavar="COMMAND", parser_class=_Parser, prog="registry")
    _add_list(commands)
    _add_show(commands)
    _add_explain(commands)
    _add_doctor(commands)
    _add_backends(commands)
    _add_pull(commands)
    _add_verify(commands)
    _add_convert(commands)
    _add_run(commands)
    return root


def _add_list(commands: Any) -> None:
    this = _command(commands, "list", "what is installed: model types, frameworks, tasks, plugins")
    this.add_argument("pattern", nargs="?", help="part of a model type or plugin name, or a pattern with * and ?")
    this.add_argument("--framework", help="only this framework")
    this.add_argument("--task", help="only model types that offer this task")
    this.add_argument("--status", choices=STATUSES, help="only what has this status: %(choices)s", metavar="STATUS")
    this.add_argument("--plugin", help="only this plugin")


def _add_show(commands: Any) -> None:
    this = _command(commands, "show", "everything about one model type or plugin")
    this.add_argument("name", help="a model type or a plugin")


def _add_explain(commands: Any) -> None:
    this = _command(commands, "explain", "which class would be loaded, and why no other")
    this.add_argument("name", help="a checkpoint (directory or pkg:distribution/path) or a model type")
    this.add_argument("--task", default="base", help="what the model is for (default: %(default)s)")
    this.add_argument("--framework", help="as the argument of from_pretrained")
    this.add_argument("--plugin", help="as the argument of from_pretrained")


def _add_doctor(commands: Any) -> None:
    _command(commands, "doctor", "what is wrong with this installation")


def _add_backends(commands: Any) -> None:
    this = _command(commands, "backends", "declared backends, which of them can run here, and what a model would get")
    this.add_argument("--framework", help="only this framework")
    this.add_argument("--for", dest="model", metavar="MODEL", help="what this checkpoint or model type would get")
    this.add_argument("--backend", metavar="SPEC", help="with --for: as the argument of from_pretrained")
    this.add_argument("--dtype", help="with --for: the type of the computation (default: float32)")
    this.add_argument("--device", help="with --for: cpu, cuda, … (default: the fastest that the framework can use)")
    this.add_argument("--task", help="with --for: what the model is for (default: what its config names)")
    this.add_argument("--plugin", help="with --for: as the argument of from_pretrained")
    this.add_argument("--probe", action="store_true", help="ask probes as well, each in a process of its own")
    _add_where(this)


def _add_pull(commands: Any) -> None:
    this = _command(commands, "pull", "download what from_pretrained would need of a model on the Hub")
    this.add_argument("name", help="a model on the Hub; any other checkpoint is only looked at")
    _add_variant(this)
    _add_where(this)


def _add_verify(commands: Any) -> None:
    this = _command(commands, "verify", "everything that is wrong with a checkpoint's files")
    this.add_argument("name", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("--finite", action="store_true", help="read every tensor and look for NaN and infinities")
    this.add_argument("--sha256", action="store_true", help="read every file; compare with the names in a Hub cache")
    _add_variant(this)
    _add_where(this)


def _add_convert(commands: Any) -> None:
    this = _command(commands, "convert", "write a checkpoint in another format, other shards, or under other names")
    this.add_argument("source", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("target", help="a directory; a checkpoint there is replaced, all or none")
    this.add_argument("--format", choices=("safetensors", "msgpack"), default="safetensors", help="%(choices)s")
    this.add_argument("--naming", choices=("hub", "flax"), help="whose names the tensors bear: %(choices)s")
    this.add_argument("--max-shard-size", default="5GB", metavar="SIZE", help="as 5GB or 200MiB (default: %(default)s)")
    this.add_argument("--dtype", help="float32, float16, bfloat16 or float64, for floating tensors")
    _add_variant(this)


def _add_variant(this: argparse.ArgumentParser) -> None:
    this.add_argument("--variant", help="a part of the files' names, such as fp16")


def _add_where(this: argparse.ArgumentParser) -> None:
    """Options of `locate`."""
    this.add_argument("--revision", help="on the Hub: a branch, tag or commit")
    this.add_argument("--cache-dir", metavar="DIR", help="on the Hub: in place of huggingface_hub's cache")
    this.add_argument("--subfolder", default="", metavar="DIR", help="a folder inside the checkpoint")
    this.add_argument("--token", help="on the Hub; better in the variable HF_TOKEN, where no other user sees it")


def _add_run(commands: Any) -> None:
    this = commands.add_parser("run", help="use a checkpoint: embed, generate", description="Use a checkpoint.")
    below = this.add_subparsers(metavar="WHAT", required=True, parser_class=_Parser, prog="registry run")
    embed = _command(below, "embed", "vectors of texts, or how similar the texts are", module="run_embed")
    embed.add_argument("model", help="a checkpoint (directory or pkg:distribution/path)")
    embed.add_argument("text", nargs="*", help="a text; without any, lines are read from --file or stdin")
    embed.add_argument("--file", metavar="F", help="read texts from this file, one on each line ('-' is stdin)")
    embed.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts at once (default: %(default)s)")
    embed.add_argument("--similarity", action="store_true", help="with --json: similarities and nearest pairs too")
    embed.add_argument("--timings", action="store_true", help="embed twice, to tell compiling from running")
    _add_generate(below)


def _add_generate(below: Any) -> None:
    this = _command(below, "generate", "text that follows a prompt, while it is generated", module="run_generate")
    this.epilog = "What is not said here, the checkpoint's generation_config.json says."
    this.add_argument("model", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("text", nargs="*", metavar="prompt", help="a text; without one, --file or stdin is read")
    this.add_argument("--file", metavar="F", help="read the prompt from this file ('-' is stdin)")
    this.add_argument("--max-new-tokens", type=_whole(1), metavar="N", help="most tokens after the prompt")
    how = this.add_mutually_exclusive_group()
    how.add_argument("--sample", action="store_const", const=True, dest="do_sample", help="draw tokens")
    how.add_argument(
        "--greedy", action="store_const", const=False, dest="do_sample", help="take the most probable ones"
    )
    this.add_argument("--temperature", type=_number(), metavar="X", help="of drawing: below 1 bolder choices are rarer")
    this.add_argument(
        "--top-k", type=_whole(0), metavar="N", help="draw among the N most probable tokens; 0: among all"
    )
    this.add_argument(
        "--top-p", type=_number(1.0), metavar="P", help="draw among those that have probability P together"
    )
    this.add_argument(
        "--repetition-penalty", type=_number(), metavar="X", help="above 1, what occurred is less probable"
    )
    this.add_argument("--seed", type=_whole(0), metavar="N", help="of drawing, for the same text again; else a new one")
    this.add_argument("--num-beams", type=_whole(1), metavar="N", help="follow N texts; the best comes at the end")
    this.add_argument(
        "--stop", action="append", metavar="TEXT", help="end behind this text; may be given several times"
    )
    this.add_argument("--new-only", action="store_true", help="leave out the prompt")
    this.add_argument("--timings", action="store_true", help="generate twice, to tell compiling from running")
    _add_where(this)


def _whole(least: int) -> Callable[[str], int]:
    """What reads a whole number that is not below `least`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) < 1 << 31):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return read


def _number(most: float = float("inf")) -> Callable[[str], float]:
    """What reads a number above 0 and not above `most`."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = 0.0
        if not 0 < number <= most or number == float("inf"):
            bound = "" if most == float("inf") else f" and not above {most:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0{bound}")
        return number

    return read


def _command(commands: Any, name: str, summary: str, module: str | None = None) -> argparse.ArgumentParser:
    this: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
    )
    _add_common(this, default=argparse.SUPPRESS)
    this.set_defaults(module=f"automodels_cli.commands.{module or name}")
    return this


def _add_common(this: argparse.ArgumentParser, default: Any) -> None:
    """Options that may stand before the command and after it; after it, an absent one must not undo the other."""
    this.add_argument("--json", action="store_true", default=default, help="print one JSON document")
    this.add_argument("--traceback", action="store_true", default=default, help="with errors, show where they arose")
