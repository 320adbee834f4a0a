"""The file `config.json` of a checkpoint, as it stands: reading it needs no config class."""

from __future__ import annotations

import os
from typing import Any

from automodels.checkpoint.journal import current_path
from automodels.errors import MissingModelTypeError
from automodels.json_files import read_json_object
from automodels.plugins.scan import shown

CONFIG_NAME = "config.json"


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a checkpoint's `config.json`; raises MissingModelTypeError when it names no model type."""
    path = current_path(directory, CONFIG_NAME)
    raw = read_json_object(path)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        said = "names no model_type" if model_type is None else f"has model_type {shown(model_type)}"
        raise MissingModelTypeError(
            f"{path} {said}, so no class can be chosen for it.",
            hints=["Use the model class directly, or add model_type to the file."],
        )
    return raw
