"""Small decoders for the tests of generation, and the plain reference that they are compared with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_heads import OPTConfig, OPTForCausalLM

_spec = importlib.util.spec_from_file_location(
    "generation_reference", Path(__file__).parents[1] / "plugins" / "generation_reference.py"
)
reference: Any = importlib.util.module_from_spec(_spec)  # type: ignore[arg-type]  # the file is there
_spec.loader.exec_module(reference)  # type: ignore[union-attr]

V = 31
PROMPTS = reference.PROMPTS
Options = reference.Options
SHAPE = dict(
    vocab_size=V, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, ffn_dim=20, init_std=0.6,
    max_position_embeddings=40, pad_token_id=0, bos_token_id=1, eos_token_id=None,
)  # fmt: skip


def tiny(**changes: Any) -> OPTForCausalLM:
    """A decoder with one layer, whose logits are far from even."""
    torch.manual_seed(11)
    return OPTForCausalLM(OPTConfig(**{**SHAPE, **changes})).eval()


def oracle(model: Any) -> Callable[[list[int]], np.ndarray]:
    """What the model's own call says behind a list of tokens."""
    known: dict[tuple[int, ...], np.ndarray] = {}

    def logits(tokens: list[int]) -> np.ndarray:
        if (key := tuple(tokens)) not in known:
            with torch.no_grad():
                known[key] = model(torch.tensor([tokens])).logits[0, -1].double().numpy()
        return known[key]

    return logits


def left_padded(prompts: list[list[int]], pad: int = 0) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of prompts of different lengths."""
    return {name: torch.from_numpy(array) for name, array in reference.left_padded(prompts, pad).items()}


def generated(model: Any, *arguments: Any, **options: Any) -> Any:
    """What generate returns as an object."""
    return model.generate(*arguments, return_dict_in_generate=True, **options)


def new_tokens(result: Any, width: int) -> list[list[int]]:
    """What was generated for each row, without padding."""
    return reference.new_tokens(result, width)
