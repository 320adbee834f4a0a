"""From the name of a checkpoint to a directory that has its files; of a model on the Hub they are downloaded."""

from __future__ import annotations

import os
from argparse import Namespace

from automodels.checkpoint.companions import MODULES, is_data, module_folders
from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.checkpoint.locate import Location, locate
from automodels.checkpoint.needed import fetch_weights
from automodels_cli.output import Output

OF_MODULES = ("config.json", "model.safetensors", "pytorch_model.bin")  # pooling has the first only


def located(name: str, arguments: Namespace, output: Output) -> Location:
    """Where a checkpoint lies, its config and weights fetched; raises what `locate` and `fetch_weights` raise."""
    if output.as_json:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # huggingface_hub draws bars of its own
    location = locate(
        name,
        revision=getattr(arguments, "revision", None),
        cache_dir=getattr(arguments, "cache_dir", None),
        subfolder=getattr(arguments, "subfolder", ""),
        token=getattr(arguments, "token", None),
    )
    location.need(CONFIG_NAME)
    fetch_weights(location, variant=arguments.variant)
    return location


def fetch_beside(location: Location, *names: str) -> None:
    """Fetches those of some files that the checkpoint has, and what the folders hold that `modules.json` names.

    Without names, every config, tokenizer and card at the top. Does nothing but for a model on the Hub.
    """
    if location.snapshot is None:
        return
    location.fetch(MODULES, *(names or (name for name in location.names() if is_data(name))))
    if os.path.exists(location.directory / MODULES):
        folders = module_folders(location.directory / MODULES)
        location.fetch(*(f"{folder}/{name}" for folder in folders for name in OF_MODULES))
