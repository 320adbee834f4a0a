"""What training needs of a model: layers computed again in the backward pass, and inputs that ask for gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from automodels.arguments import parameters, refuse_unknown


class TrainingMethods:
    """Gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174) and gradients of inputs."""

    training: bool
    _checkpointing: Mapping[str, Any] | None = None
    _input_grads: RemovableHandle | None = None

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """From now on gradients compute each layer again instead of keeping what is inside it.

        They are the same, take less memory and more time. The options are those of `torch.utils.checkpoint.checkpoint`,
        such as `use_reentrant` (default False). Raises UnknownArgumentError for others.
        """
        options = dict(gradient_checkpointing_kwargs or {})
        known = parameters(checkpoint) - {"function"} | {"preserve_rng_state"}
        refuse_unknown("gradient_checkpointing_kwargs", options, known)
        self._set_checkpointing({"use_reentrant": False, **options})

    def gradient_checkpointing_disable(self) -> None:
        """From now on gradients keep what is inside each layer."""
        self._set_checkpointing(None)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether gradients compute each layer again."""
        return self._checkpointing is not None

    def enable_input_require_grads(self) -> None:
        """From now on what the table of tokens gives asks for gradients, also where the table is frozen.

        Adapters above frozen weights need that when layers are computed again. A second call changes nothing.
        """
        if self._input_grads is None:
            self._input_grads = self.get_input_embeddings().register_forward_hook(asks_for_gradients)

    def disable_input_require_grads(self) -> None:
        """Takes back `enable_input_require_grads`."""
        if self._input_grads is not None:
            self._input_grads.remove()
            self._input_grads = None

    def get_input_embeddings(self) -> nn.Module:
        """The table of tokens."""
        raise NotImplementedError("VocabularyMethods, which comes first, has it")

    def run_layer(self, layer: nn.Module, *inputs: Any) -> Any:
        """What a layer returns; for a backbone to call its layers by."""
        if self._checkpointing is None or not self.training:
            return layer(*inputs)
        return checkpoint(layer, *inputs, **self._checkpointing)

    def _set_checkpointing(self, options: Mapping[str, Any] | None) -> None:
        assert isinstance(self, nn.Module)
        for module in self.modules():
            if isinstance(module, TrainingMethods):
                module._checkpointing = options


def asks_for_gradients(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    """A hook: what an embedding gives asks for gradients, so that adapters above frozen weights can be trained."""
    output.requires_grad_(True)
