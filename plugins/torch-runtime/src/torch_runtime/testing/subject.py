"""TorchSubject: what is declared about a torch model beyond what is declared about any model."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from automodels.testing.conformance.driver import Driver
from automodels.testing.conformance.subject import Subject
from torch_runtime.testing.driver import TorchDriver, tensors


class TorchSubject(Subject):
    """Declarations for models derived from TorchPreTrainedModel."""

    driver: ClassVar[Driver] = TorchDriver()

    dropout: ClassVar[bool] = True
    """Whether the declared config has dropout, so that training depends on torch's random numbers."""

    gradient_checkpointing: ClassVar[bool] = True
    """Whether layers can be computed again for their gradients."""

    cache: ClassVar[bool] = False
    """Whether the model decodes with a cache: `use_cache` and `past_key_values`."""

    vocabulary: ClassVar[bool] = True
    """Whether the model has a table of tokens that can be resized."""

    compiles: ClassVar[bool] = True
    """Whether torch.compile makes one graph of a call."""

    def repeated_layers(self, model: Any) -> list[nn.Module]:
        """Modules that gradient checkpointing computes again: elements of each ModuleList as long as there are layers.

        To be overridden where layers are kept otherwise.
        """
        lists = (part for part in model.modules() if isinstance(part, nn.ModuleList))
        return [layer for found in lists if len(found) == self.layers(model.config) for layer in found]

    @staticmethod
    def call(model: Any, inputs: Any, **options: Any) -> Any:
        """What the model itself returns, its cache too, without gradients."""
        with torch.no_grad():
            return model(**tensors(inputs, model.dtype), **options)
