"""Our worker for PyTorch. Imports are inside of the commands: from the start of a process to a model counts them."""

from __future__ import annotations

import os
from typing import Any

from protocol import seconds_of, serve
from with_torch import forward, held, inputs_for, prompts_for

SPREAD = 0.06  # of OPT's random weights: wide enough that greedy text does not repeat one token
LARGE = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 12, "num_attention_heads": 16}
SHARD = "500MB"


def make(family: str, folder: str) -> dict[str, Any]:
    """A model of the 125M shape, BERT-base, or a BERT of 2.6 GB in shards, with random parameters; its bytes."""
    import torch

    from torch_heads import BertConfig, BertModel, OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    if family == "opt":
        model: Any = OPTForCausalLM(OPTConfig(init_std=SPREAD, eos_token_id=None))
    else:
        model = BertModel(BertConfig(**(LARGE if family == "large" else {})))
    model.save_pretrained(folder, max_shard_size=SHARD)
    return {"parameters": model.get_memory_footprint()}


def load(family: str, folder: str) -> dict[str, Any]:
    held["model"] = _model(family, folder)
    held.pop("compiled", None)
    return {}


def first(family: str, folder: str, batch: int, tokens: int) -> dict[str, Any]:
    """Import, load, compute."""
    import torch

    model = _model(family, folder)
    with torch.inference_mode():
        model(torch.full((batch, tokens), 101))
    return {}


def generate(batch: int, tokens: int, new: int, beams: int, compiled: bool = False) -> dict[str, Any]:
    model, prompts = held["model"], prompts_for(batch, tokens)
    found: list[Any] = []
    options = {"max_new_tokens": new, "num_beams": beams, "do_sample": False, "compile": compiled}
    seconds = seconds_of(lambda: found.append(model.generate(prompts, **options)))
    return {"seconds": seconds, "tokens": found[0].tolist()}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    """A few numbers of the result, to see that all compute the same."""
    import torch

    with torch.inference_mode():
        output = held["model"](**inputs_for(batch, tokens))
    if "logits" in output:
        return {"numbers": output.logits[:, : tokens // 2, :8].tolist()}
    return {"numbers": output.last_hidden_state[:, 0, :8].tolist()}


def _model(family: str, folder: str) -> Any:
    import torch

    from torch_heads import BertModel, OPTForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    return (OPTForCausalLM if family == "opt" else BertModel).from_pretrained(folder)


if __name__ == "__main__":
    serve({command.__name__: command for command in (make, load, first, generate, forward, digest)})
