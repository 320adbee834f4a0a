"""Saving: the parameters of a model as tensors of a checkpoint, under the Hub's names or those of the Flax tree.

Arrays leave the device one at a time, as the writer asks for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

from automodels.arguments import parameters, refuse_unknown
from automodels.checkpoint.keymap import TRANSPOSED, KeyMap, Layout
from automodels.checkpoint.push import Pushed
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.writer import SaveReport
from automodels.errors import InputError, listed
from automodels.runtime.classes import ModelClass
from automodels.runtime.generation_files import WithGenerationConfig
from automodels.runtime.saving import PUSH_OPTIONS, save_and_upload, save_model, upload_saved
from flax_runtime.parameter_methods import ParameterMethods
from flax_runtime.parameters import flatten

Naming = Literal["hub", "flax"]


class CheckpointSaving(ParameterMethods, WithGenerationConfig, ModelClass):
    """A model's config and parameters as a checkpoint."""

    param_dtype: np.dtype

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        naming: Naming | None = None,
        variant: str | None = None,
        is_main_process: bool = True,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push_options: Any,
    ) -> SaveReport | None:
        """Writes config and weights into a directory, all or nothing: an old checkpoint there is replaced at once.

        `params` is any tree of the model's form (default: its own). Weights are safetensors under the Hub's names,
        which every framework reads; `naming="flax"` keeps the names and the layout of the tree, so that loading on a
        CPU copies nothing; `safe_serialization=False` writes msgpack under the tree's names. `max_shard_size` is
        "5GB", "200MiB" or bytes; `variant` goes into the files' names. Only the main process of several writes; others
        get None. With `push_to_hub`, the directory is uploaded to `repo_id` (default: the directory's name); further
        options are those of `push_to_hub`. Raises CheckpointMismatchError for params that do not fit, InputError,
        CheckpointWriteError, HubError.
        """
        refuse_unknown("save_pretrained", push_options, PUSH_OPTIONS, elsewhere=parameters(type(self).save_pretrained))
        if not is_main_process:
            return None
        naming = naming or ("hub" if safe_serialization else "flax")
        flat = flatten(self.params if params is None else self._checked(params))
        report = save_model(
            type(self),
            self._config,
            save_directory,
            tensors_of(flat, self.keymap, backbone=self.base_model_prefix, naming=naming),
            architecture=type(self).__name__.removeprefix("Flax"),
            dtypes={leaf.dtype.name for leaf in flat.values()},
            dtype=self.param_dtype.name,
            files=self._saved_files(),
            format="safetensors" if safe_serialization else "msgpack",
            naming=naming,
            max_shard_size=max_shard_size,
            variant=variant,
        )
        if push_to_hub:
            upload_saved(save_directory, repo_id, push_options)
        return report

    def push_to_hub(self, repo_id: str, params: Mapping[str, Any] | None = None, **options: Any) -> Pushed:
        """Saves the model into a temporary directory and uploads it as one commit.

        Options are those of `save_pretrained` that concern the weights, and `commit_message`, `token`, `private`,
        `revision`, `tags`, `create_pr`, `card`. Raises InputError, HubError, MissingDependencyError.
        """
        return save_and_upload(
            lambda folder, **saving: self.save_pretrained(folder, params, **saving), repo_id, options
        )


def tensors_of(
    flat: Mapping[str, jax.Array], keymap: KeyMap, *, backbone: str = "", naming: Naming = "hub"
) -> dict[str, LazyTensor]:
    """Tensor name → tensor, for parameters by path (dots).

    "flax" names a tensor as its path; "hub" as the key map says, with the backbone's prefix where the model has a head.
    Raises InputError when the key map lacks a parameter.
    """
    if naming == "flax":
        return {path: _lazy(leaf, None) for path, leaf in flat.items()}
    named = {path: _hub_name(path, keymap, backbone) for path in flat}
    lost = [path for path, found in named.items() if found is None]
    if lost:
        raise InputError(
            f"The key map has no tensor for {listed(lost, limit=4)}.", hints=['Save with naming="flax" instead.']
        )
    return {found[0]: _lazy(flat[path], found[1]) for path, found in named.items() if found is not None}


def _hub_name(path: str, keymap: KeyMap, backbone: str) -> tuple[str, Layout] | None:
    inside = bool(backbone) and path.startswith(f"{backbone}.")
    found = keymap.tensor(path.removeprefix(f"{backbone}.") if inside else path)
    return (keymap.prefix + found[0], found[1]) if found is not None and inside else found


def _lazy(leaf: jax.Array, layout: Layout | None) -> LazyTensor:
    shape = leaf.shape[::-1] if layout is TRANSPOSED else leaf.shape

    def read() -> np.ndarray[Any, Any]:
        array = np.asarray(leaf)
        return np.ascontiguousarray(array.T) if layout is TRANSPOSED else array

    return LazyTensor(dtype=np.dtype(leaf.dtype), shape=shape, read=read)
