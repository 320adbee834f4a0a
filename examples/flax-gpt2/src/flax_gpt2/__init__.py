"""GPT-2 in Flax. Names are imported when they are first used: reading the config imports no framework."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax_gpt2.config import GPT2Config
    from flax_gpt2.modeling import (
        FlaxGPT2ForSequenceClassification,
        FlaxGPT2LMHeadModel,
        FlaxGPT2Model,
        FlaxGPT2PreTrainedModel,
    )

__all__ = [
    "FlaxGPT2ForSequenceClassification",
    "FlaxGPT2LMHeadModel",
    "FlaxGPT2Model",
    "FlaxGPT2PreTrainedModel",
    "GPT2Config",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_gpt2' has no attribute {name!r}")
    module = "flax_gpt2.config" if name == "GPT2Config" else "flax_gpt2.modeling"
    return getattr(importlib.import_module(module), name)
