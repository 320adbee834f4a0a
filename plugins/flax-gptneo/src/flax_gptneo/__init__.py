"""GPT-Neo in Flax. Names are imported when they are first used: reading the manifest or the key map imports no Flax."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.gpt_neo import GPTNeoConfig
    from flax_gptneo.modeling import FlaxGPTNeoForCausalLM, FlaxGPTNeoModel, FlaxGPTNeoPreTrainedModel

__all__ = ["FlaxGPTNeoForCausalLM", "FlaxGPTNeoModel", "FlaxGPTNeoPreTrainedModel", "GPTNeoConfig"]
_ELSEWHERE = {"GPTNeoConfig": "automodels.families.gpt_neo"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_gptneo' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "flax_gptneo.modeling")), name)
