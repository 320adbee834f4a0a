"""GPT-Neo in Flax. Only the config yet: the manifest offers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.families.gpt_neo import GPTNeoConfig

__all__ = ["GPTNeoConfig"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flax_gptneo' has no attribute {name!r}")
    from automodels.families.gpt_neo import GPTNeoConfig

    return GPTNeoConfig
