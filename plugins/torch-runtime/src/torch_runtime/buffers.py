"""Buffers that no checkpoint holds: a module that is built without memory has to make them once it has some."""

from __future__ import annotations

import torch
from torch import nn

from automodels.errors import PluginError


def remake_buffers(model: nn.Module, device: torch.device) -> None:
    """Makes every buffer that has no memory yet, by its module's `reset_buffers()`.

    Raises PluginError for a module that has such buffers and no such method.
    """
    for path, module in model.named_modules():
        empty = [name for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta]
        if not empty:
            continue
        reset = getattr(module, "reset_buffers", None)
        if reset is None:
            raise PluginError(
                f"{type(module).__name__} (at {path or 'the top'}) has the buffer {empty[0]}, which no checkpoint has, "
                "and no method reset_buffers() that makes it."
            )
        with device:
            reset()
