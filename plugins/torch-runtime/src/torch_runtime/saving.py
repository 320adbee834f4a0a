"""Saving: a module's parameters as a checkpoint under the Hub's names, which are the module's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from automodels.arguments import parameters, refuse_unknown
from automodels.checkpoint.push import Pushed
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.writer import SaveReport
from automodels.config import PretrainedConfig
from automodels.errors import CheckpointMismatchError, InputError, listed
from automodels.runtime.classes import ModelClass
from automodels.runtime.generation_files import WithGenerationConfig
from automodels.runtime.saving import PUSH_OPTIONS, save_and_upload, save_model, upload_saved
from torch_runtime.offloading import keeps_value, offloaded_value
from torch_runtime.parameters import held
from torch_runtime.tensors import as_source, dtype_name, numpy_dtype


class CheckpointSaving(ModelClass, WithGenerationConfig):
    """A model's config and parameters as a checkpoint."""

    config: PretrainedConfig
    model_tags: tuple[str, ...]
    quantization: str | None
    adapters: Mapping[str, Any]
    _offload_files: frozenset[str] = frozenset()
    """Real paths of files that offloaded parameters are read from."""

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        max_shard_size: int | str = "5GB",
        variant: str | None = None,
        is_main_process: bool = True,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push_options: Any,
    ) -> SaveReport | None:
        """Writes config and weights into a directory, all or nothing: an old checkpoint there is replaced at once.

        `state_dict` stands in for the model's own. Weights are safetensors under the Hub's names; a tied parameter is
        written once. `max_shard_size` is "5GB", "200MiB" or bytes; `variant` goes into the files' names. Only the main
        process of several writes; others get None. With `push_to_hub`, the directory is uploaded to `repo_id` (default:
        the directory's name); further options are those of `push_to_hub`. Raises CheckpointMismatchError for a
        `state_dict` that does not fit, InputError (also for `safe_serialization=False`: no pickle is written; for a
        quantised model, for adapters that are not merged, and where offloaded parameters would be overwritten),
        CheckpointWriteError, HubError.
        """
        refuse_unknown("save_pretrained", push_options, PUSH_OPTIONS, elsewhere=parameters(type(self).save_pretrained))
        if not safe_serialization:
            raise InputError(
                "safe_serialization=False would write a pickle, from which loading runs code.",
                hints=["Leave it out: safetensors are read by everything that reads pytorch_model.bin."],
            )
        if not is_main_process:
            return None
        self._refuse_unsavable(save_directory)
        tensors = self._tensors(state_dict)
        report = save_model(
            type(self),
            self.config,
            save_directory,
            {name: self._source(name, tensor) for name, tensor in tensors.items()},
            architecture=type(self).__name__,
            dtypes={dtype_name(tensor.dtype) for tensor in tensors.values()},
            dtype=dtype_name(next(iter(tensors.values())).dtype),
            files=self._saved_files(),
            max_shard_size=max_shard_size,
            variant=variant,
        )
        if push_to_hub:
            upload_saved(save_directory, repo_id, self._tagged(push_options))
        return report

    def push_to_hub(self, repo_id: str, **options: Any) -> Pushed:
        """Saves the model into a temporary directory and uploads it as one commit.

        Options are those of `save_pretrained` that concern the weights, and `commit_message`, `token`, `private`,
        `revision`, `tags`, `create_pr`, `card`. Raises InputError, HubError, MissingDependencyError.
        """
        return save_and_upload(self.save_pretrained, repo_id, self._tagged(options))

    def _tagged(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of an upload with the model's own tags."""
        given = options.get("tags", ())
        return {**options, "tags": [*self.model_tags, *given]} if self.model_tags else dict(options)

    def _refuse_unsavable(self, directory: str | os.PathLike[str]) -> None:
        """Raises InputError where what would be written is not the model as it computes, or what it still needs."""
        if self.quantization is not None:
            raise InputError(
                f"The model holds {self.quantization} values, which no checkpoint of ours has.",
                hints=["model.dequantize() makes them floating-point numbers again; then save."],
            )
        if any(adapter.changes_results for adapter in self.adapters.values()):
            raise InputError(
                f"The model computes with adapters that are not part of its weights: {listed(self.adapters)}.",
                hints=["merge_adapter() first, or save_adapter() to save them alone, or disable_adapters()."],
            )
        inside = [file for file in self._offload_files if os.path.dirname(file) == os.path.realpath(directory)]
        if inside:
            raise InputError(
                f"Parameters of this model lie in {inside[0]}, which saving here would replace.",
                hints=["Save into another directory."],
            )

    def _source(self, name: str, tensor: torch.Tensor) -> LazyTensor:
        """The tensor for a writer; for one that is kept elsewhere, what its hook would bring."""
        if not tensor.is_meta:
            return as_source(tensor)

        def read() -> np.ndarray[Any, Any]:
            assert isinstance(self, nn.Module)
            value = offloaded_value(self, name)
            assert value is not None
            return as_source(value.to(tensor.dtype)).read()

        return LazyTensor(dtype=numpy_dtype(tensor.dtype), shape=tuple(tensor.shape), read=read)

    def _tensors(self, given: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
        """Name → tensor, tied ones once."""
        assert isinstance(self, nn.Module)
        own = {name: found.tensor for name, found in held(self).items()}
        if given is not None:
            return _checked(own, given)
        lost = [name for name, tensor in own.items() if tensor.is_meta and not keeps_value(self, name)]
        if lost:
            raise InputError(f"{listed(lost, limit=3)} has no values.", hints=["Pass state_dict."])
        return own


def _checked(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    lost = [name for name in own if name not in given]
    wrong = [name for name in own if name in given and given[name].shape != own[name].shape]
    if lost or wrong:
        what = f"lacks {listed(lost, limit=3)}" if lost else f"has another shape for {listed(wrong, limit=3)}"
        raise CheckpointMismatchError(f"state_dict {what}.", trace=[*lost, *wrong])
    return {name: given[name] for name in own}
