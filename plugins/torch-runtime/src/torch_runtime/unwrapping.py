"""The model inside what trains, compiles or distributes it."""

from __future__ import annotations

from torch import nn

_ATTRIBUTES = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "FullyShardedDataParallel": "module",
    "DeepSpeedEngine": "module",
    "OptimizedModule": "_orig_mod",  # what torch.compile gives
}
"""Class of a wrapper → where it has what is inside; classes of libraries that may not be installed go by name."""


def unwrap_model(model: nn.Module, recursive: bool = False) -> nn.Module:
    """What is inside wrappers, however many: those of torch's and deepspeed's distribution, and torch.compile's.

    With `recursive`, parts of the model that are wrapped are put in their wrappers' places too.
    """
    inner = _inside(model)
    while inner is not None:
        model, inner = inner, _inside(inner)
    if recursive:
        for name, child in list(model.named_children()):
            setattr(model, name, unwrap_model(child, recursive=True))
    return model


def _inside(model: nn.Module) -> nn.Module | None:
    for kind in type(model).__mro__:
        attribute = _ATTRIBUTES.get(kind.__name__)
        inner = getattr(model, attribute, None) if attribute else None
        if isinstance(inner, nn.Module):
            return inner
    return None
