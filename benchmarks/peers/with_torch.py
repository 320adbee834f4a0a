"""What all workers with torch do alike: a model that is held, its inputs, its forward.

Imports are inside of the functions: from the start of a process to a model counts them.
"""

from __future__ import annotations

from typing import Any

from protocol import seconds_of

held: dict[str, Any] = {}
"""`model`, and `compiled` once it was asked for."""


def forward(batch: int, tokens: int, compiled: bool = False) -> dict[str, Any]:
    """With `compiled`, by torch.compile."""
    import torch

    inputs = inputs_for(batch, tokens)
    if compiled and "compiled" not in held:
        held["compiled"] = torch.compile(held["model"], dynamic=False)
    model = held["compiled" if compiled else "model"]
    with torch.inference_mode():
        return {"seconds": seconds_of(lambda: model(**inputs))}


def inputs_for(batch: int, tokens: int) -> dict[str, Any]:
    """Random texts for the model, some with padding."""
    import torch
    from inputs import inputs_of

    ids, mask = inputs_of(batch, tokens, held["model"].config.vocab_size)
    return {"input_ids": torch.from_numpy(ids).long(), "attention_mask": torch.from_numpy(mask).long()}


def prompts_for(batch: int, tokens: int) -> Any:
    """Random prompts for the model, without padding."""
    import torch
    from inputs import prompts_of

    return torch.from_numpy(prompts_of(batch, tokens, held["model"].config.vocab_size)).long()
