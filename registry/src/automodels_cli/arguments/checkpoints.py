"""Arguments of the commands about checkpoints: pull, verify, convert."""

from __future__ import annotations

from typing import Any

from automodels_cli.arguments.forms import add_variant, add_where, command


def add(commands: Any) -> None:
    """Declares them, in the order of the help."""
    _add_pull(commands)
    _add_verify(commands)
    _add_convert(commands)


def _add_pull(commands: Any) -> None:
    this = command(commands, "pull", "download what from_pretrained would need of a model on the Hub")
    this.add_argument("name", help="a model on the Hub; any other checkpoint is only looked at")
    add_variant(this)
    add_where(this)


def _add_verify(commands: Any) -> None:
    this = command(commands, "verify", "everything that is wrong with a checkpoint's files")
    this.add_argument("name", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("--finite", action="store_true", help="read every tensor and look for NaN and infinities")
    this.add_argument("--sha256", action="store_true", help="read every file; compare with the names in a Hub cache")
    add_variant(this)
    add_where(this)


def _add_convert(commands: Any) -> None:
    this = command(commands, "convert", "write a checkpoint in another format, other shards, or under other names")
    this.add_argument("source", help="a checkpoint: directory, pkg:distribution/path, or a model on the Hub")
    this.add_argument("target", help="a directory; a checkpoint there is replaced, all or none")
    this.add_argument("--format", choices=("safetensors", "msgpack"), default="safetensors", help="%(choices)s")
    this.add_argument("--naming", choices=("hub", "flax"), help="whose names the tensors bear: %(choices)s")
    this.add_argument("--max-shard-size", default="5GB", metavar="SIZE", help="as 5GB or 200MiB (default: %(default)s)")
    this.add_argument("--dtype", help="float32, float16, bfloat16 or float64, for floating tensors")
    add_variant(this)
