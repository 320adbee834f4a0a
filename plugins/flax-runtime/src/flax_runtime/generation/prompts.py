"""Prompts: known on the host, where they are checked."""

from __future__ import annotations

from typing import Any

import jax

from automodels.errors import InputError
from automodels.generation import GenerationConfig, calls
from automodels.generation.prompts import Prompt

_HOST = "generate runs compiled programs itself and looks at values; call it outside jit, grad and vmap."


def call_prompt(input_ids: Any, attention_mask: Any, config: GenerationConfig, vocab_size: int) -> Prompt:
    """The prompt of a call; raises InputError when it is none, or not known yet."""
    for name, value in (("input_ids", input_ids), ("attention_mask", attention_mask)):
        if isinstance(value, jax.core.Tracer):
            raise InputError(f"{name} is a traced array: {_HOST}")
    return calls.call_prompt(input_ids, attention_mask, config, vocab_size)
