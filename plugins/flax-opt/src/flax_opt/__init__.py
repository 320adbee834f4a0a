"""OPT in Flax. Names are imported when they are first used: reading the manifest or the key map imports no Flax."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.opt import OPTConfig
    from flax_opt.modeling import FlaxOPTForCausalLM, FlaxOPTModel, FlaxOPTPreTrainedModel

__all__ = ["FlaxOPTForCausalLM", "FlaxOPTModel", "FlaxOPTPreTrainedModel", "OPTConfig"]
_ELSEWHERE = {"OPTConfig": "automodels.families.opt"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_opt' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "flax_opt.modeling")), name)
