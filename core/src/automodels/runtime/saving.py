"""What `save_pretrained` and `push_to_hub` do in every framework: config, tensors and other files, all or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from automodels.arguments import parameters
from automodels.checkpoint.config_file import CONFIG_NAME
from automodels.checkpoint.provenance import file_metadata, provenance
from automodels.checkpoint.push import Pushed
from automodels.checkpoint.push import push_to_hub as upload
from automodels.checkpoint.sources import Source
from automodels.checkpoint.writer import SaveReport, save_tensors
from automodels.config import PretrainedConfig
from automodels.runtime.classes import plugin_of

PUSH_OPTIONS = frozenset(parameters(upload) - {"directory", "repo_id"})
"""Options of `push_to_hub` that are about the upload."""


def save_model(
    model_class: type,
    config: PretrainedConfig,
    directory: str | os.PathLike[str],
    tensors: Mapping[str, Source],
    *,
    architecture: str,
    dtypes: Collection[str],
    dtype: str,
    files: Mapping[str, bytes],
    **options: Any,
) -> SaveReport:
    """Writes a checkpoint; `options` are those of `save_tensors`, which says what is raised.

    `architecture` is the class's name in checkpoints. `dtypes` are the types of the tensors; where there are several,
    the config says `dtype`.
    """
    plugin = plugin_of(model_class)
    changes = {
        "architectures": [architecture],
        "dtype": next(iter(dtypes)) if len(set(dtypes)) == 1 else dtype,
        "automodels": provenance(plugin),
    }
    text = config.copy_with(**changes).to_json_string()
    return save_tensors(
        directory,
        tensors,
        metadata=file_metadata(plugin),
        files={CONFIG_NAME: text.encode(), **files},
        **options,
    )


def upload_saved(directory: str | os.PathLike[str], repo_id: str | None, options: Mapping[str, Any]) -> Pushed:
    """Uploads a saved directory, to a repository of its own name where none is given."""
    return upload(directory, repo_id or Path(directory).resolve().name, **options)


def save_and_upload(save: Callable[..., Any], repo_id: str, options: Mapping[str, Any]) -> Pushed:
    """Saves into a temporary directory by `save(directory, **options)` and uploads it as one commit."""
    pushing = {name: value for name, value in options.items() if name in PUSH_OPTIONS}
    with tempfile.TemporaryDirectory() as scratch:
        save(scratch, **{name: value for name, value in options.items() if name not in PUSH_OPTIONS})
        return upload(scratch, repo_id, **pushing)
