"""A plugin-based model registry with auto classes: code from installed packages, weights from checkpoints.

Public names are imported when they are first used; `import automodels` itself imports nothing but this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automodels.auto import (
        AutoConfig,
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForNextSentencePrediction,
        AutoModelForPreTraining,
        AutoModelForQuestionAnswering,
        AutoModelForSentenceEmbedding,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )
    from automodels.config import PretrainedConfig
    from automodels.errors import AutomodelsError
    from automodels.generation import GenerationConfig
    from automodels.loading import resolve
    from automodels.plugins.catalog import load_catalog as catalog
    from automodels.plugins.registration import registrations
    from automodels.plugins.settings import pin, policy
    from automodels.text import AutoTokenizer

__version__ = "0.1.0"

_PUBLIC = {
    "AutoConfig": "auto:AutoConfig",
    "AutoModel": "auto:AutoModel",
    "AutoModelForCausalLM": "auto:AutoModelForCausalLM",
    "AutoModelForMaskedLM": "auto:AutoModelForMaskedLM",
    "AutoModelForMultipleChoice": "auto:AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction": "auto:AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining": "auto:AutoModelForPreTraining",
    "AutoModelForQuestionAnswering": "auto:AutoModelForQuestionAnswering",
    "AutoModelForSentenceEmbedding": "auto:AutoModelForSentenceEmbedding",
    "AutoModelForSequenceClassification": "auto:AutoModelForSequenceClassification",
    "AutoModelForTokenClassification": "auto:AutoModelForTokenClassification",
    "AutoTokenizer": "text:AutoTokenizer",
    "AutomodelsError": "errors:AutomodelsError",
    "GenerationConfig": "generation:GenerationConfig",
    "PretrainedConfig": "config:PretrainedConfig",
    "catalog": "plugins.catalog:load_catalog",
    "pin": "plugins.settings:pin",
    "policy": "plugins.settings:policy",
    "registrations": "plugins.registration:registrations",
    "resolve": "loading:resolve",
}

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSentenceEmbedding",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "AutomodelsError",
    "GenerationConfig",
    "PretrainedConfig",
    "catalog",
    "pin",
    "policy",
    "registrations",
    "resolve",
]


def __getattr__(name: str) -> Any:
    found: Any = None
    if name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].partition(":")
        found = getattr(importlib.import_module(f"automodels.{module}"), attribute)
    elif name.startswith(("AutoModel", "FlaxAutoModel", "TorchAutoModel")):
        from automodels.auto import auto_class

        found = auto_class(name)
    if found is None:
        raise AttributeError(f"module 'automodels' has no attribute {name!r}")
    if name in _PUBLIC:
        globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
