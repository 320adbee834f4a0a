"""transformers' torch BERT with scaled dot product attention, with transformers 5."""

from __future__ import annotations

import os
from typing import Any

from protocol import seconds_of, serve
from with_torch import forward, held, inputs_for


def _model(folder: str) -> Any:
    import torch
    from transformers import BertModel

    torch.set_num_threads(os.cpu_count() or 1)
    return BertModel.from_pretrained(folder, attn_implementation="sdpa").eval()


def first(folder: str, batch: int, tokens: int) -> dict[str, Any]:
    """Import, load, compute."""
    import torch

    model = _model(folder)
    with torch.inference_mode():
        model(torch.full((batch, tokens), 101))
    return {}


def imports() -> dict[str, Any]:
    """What loading needs, imported and started."""
    import torch
    from transformers import BertModel  # noqa: F401

    torch.zeros(1)
    return {}


def load(folder: str) -> dict[str, Any]:
    def run() -> None:
        held["model"] = _model(folder)

    return {"seconds": seconds_of(run)}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        states = held["model"](**inputs_for(batch, tokens)).last_hidden_state
    return {"numbers": states[:, 0, :8].tolist()}


def products(batch: int, tokens: int) -> dict[str, Any]:
    """The matrix products of the forward alone, as the JAX worker computes them."""
    import torch

    config = held["model"].config
    hidden, wide, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    if "matrices" not in held:
        shapes = [(hidden, hidden)] * 4 + [(wide, hidden), (hidden, wide)]
        held["matrices"] = [
            [torch.randn(shape) * shape[1] ** -0.5 for shape in shapes] for _ in range(config.num_hidden_layers)
        ]
    x = torch.randn(batch, tokens, hidden)
    linear = torch.nn.functional.linear

    def run() -> None:
        for query, key, value, output, widen, narrow in held["matrices"]:
            q, k, v = (linear(x, w).view(batch, tokens, heads, -1).transpose(1, 2) for w in (query, key, value))
            attended = (q @ k.transpose(-1, -2) @ v).transpose(1, 2).reshape(batch, tokens, hidden)
            linear(linear(linear(attended, output), widen), narrow)

    with torch.inference_mode():
        return {"seconds": seconds_of(run)}


if __name__ == "__main__":
    serve({command.__name__: command for command in (first, imports, load, forward, digest, products)})
