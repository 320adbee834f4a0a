"""Arguments of the commands that use a checkpoint: run embed, run fill-mask, run generate."""

from __future__ import annotations

from typing import Any

from automodels_cli.arguments.forms import add_choice, add_where, command, number, whole


def add(commands: Any) -> None:
    """Declares `run` and what stands below it."""
    _add_run(commands)


def _add_run(commands: Any) -> None:
    this = commands.add_parser(
        "run", help="use a checkpoint: embed, fill-mask, generate", description="Use a checkpoint."
    )
    below = this.add_subparsers(metavar="WHAT", required=True, prog="registry run")
    embed = command(below, "embed", "vectors of texts, or how similar the texts are", module="run_embed")
    embed.add_argument("model", help="a checkpoint (directory or pkg:distribution/path)")
    embed.add_argument("text", nargs="*", help="a text; without any, lines are read from --file or stdin")
    embed.add_argument("--file", metavar="F", help="read texts from this file, one on each line ('-' is stdin)")
    embed.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts at once (default: %(default)s)")
    embed.add_argument("--similarity", action="store_true", help="with --json: similarities and nearest pairs too")
    embed.add_argument("--timings", action="store_true", help="embed twice, to tell compiling from running")
    add_choice(embed)
    _add_fill_mask(below)
    _add_generate(below)


def _add_fill_mask(below: Any) -> None:
    this = command(below, "fill-mask", "the most probable tokens for gaps in texts", module="run_fill_mask")
    this.epilog = "A gap is written [MASK] or <mask>, or as the tokenizer calls it; a text may have several."
    this.add_argument("model", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("text", nargs="*", help="a text; without any, lines are read from --file or stdin")
    this.add_argument("--file", metavar="F", help="read texts from this file, one on each line ('-' is stdin)")
    this.add_argument("--top-k", type=whole(1), default=5, metavar="N", help="tokens for a gap (default: %(default)s)")
    this.add_argument("--timings", action="store_true", help="run twice, to tell compiling from running")
    add_choice(this)
    add_where(this)


def _add_generate(below: Any) -> None:
    this = command(below, "generate", "text that follows a prompt, while it is generated", module="run_generate")
    this.epilog = "What is not said here, the checkpoint's generation_config.json says."
    this.add_argument("model", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("text", nargs="*", metavar="prompt", help="a text; without one, --file or stdin is read")
    this.add_argument("--file", metavar="F", help="read the prompt from this file ('-' is stdin)")
    this.add_argument("--max-new-tokens", type=whole(1), metavar="N", help="most tokens after the prompt")
    how = this.add_mutually_exclusive_group()
    how.add_argument("--sample", action="store_const", const=True, dest="do_sample", help="draw tokens")
    how.add_argument(
        "--greedy", action="store_const", const=False, dest="do_sample", help="take the most probable ones"
    )
    this.add_argument("--temperature", type=number(), metavar="X", help="of drawing: below 1 bolder choices are rarer")
    this.add_argument("--top-k", type=whole(0), metavar="N", help="draw among the N most probable tokens; 0: among all")
    this.add_argument(
        "--top-p", type=number(1.0), metavar="P", help="draw among those that have probability P together"
    )
    this.add_argument(
        "--repetition-penalty", type=number(), metavar="X", help="above 1, what occurred is less probable"
    )
    this.add_argument("--seed", type=whole(0), metavar="N", help="of drawing, for the same text again; else a new one")
    this.add_argument("--num-beams", type=whole(1), metavar="N", help="follow N texts; the best comes at the end")
    this.add_argument(
        "--stop", action="append", metavar="TEXT", help="end behind this text; may be given several times"
    )
    this.add_argument("--new-only", action="store_true", help="leave out the prompt")
    this.add_argument("--timings", action="store_true", help="generate twice, to tell compiling from running")
    add_choice(this)
    add_where(this)
