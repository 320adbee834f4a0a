"""transformers' OPT in torch with scaled_dot_product_attention, on the device that there is."""

from __future__ import annotations

from typing import Any

import torch
from inputs import prompts_of
from on_torch import DEVICE, device, timed
from protocol import serve
from transformers import OPTConfig, OPTForCausalLM

held: dict[str, Any] = {}


def make(family: str, dtype: str, fields: dict[str, Any]) -> dict[str, Any]:
    """An OPT with random parameters."""
    assert family == "opt"
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = OPTForCausalLM._from_config(
            OPTConfig(**fields), dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    held["model"] = model.eval()
    return {}


def forward(backend: str, batch: int, tokens: int, *, padded: bool) -> dict[str, float]:
    """With `backend` "compiled", by torch.compile."""
    assert not padded
    ids = _prompts(batch, tokens)
    if backend == "compiled" and "compiled" not in held:
        held["compiled"] = torch.compile(held["model"])
    model = held["compiled" if backend == "compiled" else "model"]
    with torch.inference_mode():
        return {"seconds": timed(lambda: model(input_ids=ids, use_cache=False))}


def generate(backend: str, batch: int, tokens: int, new: int) -> dict[str, float]:
    """With `backend` "static", by a static cache, for which the library compiles the model on a GPU by itself."""
    ids = _prompts(batch, tokens)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    if backend == "static":
        options["cache_implementation"] = "static"
    with torch.inference_mode():
        return {"seconds": timed(lambda: held["model"].generate(ids, attention_mask=torch.ones_like(ids), **options))}


def forget() -> dict[str, Any]:
    """Frees the memory of everything that is held."""
    held.clear()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    return {}


def _prompts(batch: int, tokens: int) -> torch.Tensor:
    return torch.from_numpy(prompts_of(batch, tokens, held["model"].config.vocab_size)).long().to(DEVICE)


if __name__ == "__main__":
    serve({command.__name__: command for command in (device, make, forward, generate, forget)})
