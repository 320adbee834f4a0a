"""Every hook of 1.0; `seen` is what they were told."""

from __future__ import annotations

import os
from pathlib import Path

from automodels.errors import InputError
from automodels.plugins.hooks import hookimpl

seen = []


@hookimpl
def locate_checkpoint(name, options):
    if options["revision"] is not None:
        raise InputError(f"{name} has no revisions.")
    directory = Path(os.environ["FROZEN_CHECKPOINTS"], name.partition("://")[2])
    seen.append(("locate_checkpoint", name))
    return directory if directory.is_dir() else None


@hookimpl
def configure_load(config, options):
    seen.append(("configure_load", config.model_type))
    return {"scale": 2.0} if config.model_type == "frozen-tally" and "scale" not in options else None


@hookimpl
def model_loaded(model):  # an argument is left out
    seen.append(("model_loaded", type(model).__name__))
