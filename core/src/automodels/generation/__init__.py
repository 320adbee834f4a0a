"""What text generation is asked for: options, where they come from, and lengths. Framework-free."""

from __future__ import annotations

from automodels.generation.config import GenerationConfig
from automodels.generation.lengths import Lengths, lengths
from automodels.generation.precedence import resolved

__all__ = ["GenerationConfig", "Lengths", "lengths", "resolved"]
