"""transformers' torch OPT and GPT-Neo with transformers 5."""

from __future__ import annotations

import os
from typing import Any

from protocol import seconds_of, serve
from with_torch import forward, held, inputs_for, prompts_for


def load(family: str, folder: str) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(os.cpu_count() or 1)
    held["model"] = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    held.pop("compiled", None)
    return {}


def generate(batch: int, tokens: int, new: int, beams: int, cache: str = "dynamic") -> dict[str, Any]:
    """`cache` is dynamic, static (which the library does not compile on a CPU by itself), or compiled."""
    found: list[Any] = []
    prompts = prompts_for(batch, tokens)
    seconds = seconds_of(lambda: found.append(_generated(prompts, new, beams, cache)))
    return {"seconds": seconds, "tokens": found[0].tolist()}


def prompts(family: str, folder: str, lengths: list[int], new: int) -> dict[str, Any]:
    """Import, load, generate for one prompt of each length."""
    load(family, folder)
    found = [_generated(prompts_for(1, length), new, 1, "dynamic")[0, length:] for length in lengths]
    return {"tokens": [tokens.tolist() for tokens in found]}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        logits = held["model"](**inputs_for(batch, tokens)).logits
    return {"numbers": logits[:, : tokens // 2, :8].tolist()}


def _generated(prompts: Any, new: int, beams: int, cache: str) -> Any:
    import torch
    from transformers import CompileConfig

    options: dict[str, Any] = {"max_new_tokens": new, "num_beams": beams, "do_sample": False, "pad_token_id": 0}
    if cache != "dynamic":
        options["cache_implementation"] = "static"
    if cache == "compiled":
        options["compile_config"] = CompileConfig(mode="default")
        options["compile_config"]._compile_all_devices = True  # a CPU only by this flag, which is meant for tests
    with torch.inference_mode():
        return held["model"].generate(prompts, attention_mask=torch.ones_like(prompts), eos_token_id=None, **options)


if __name__ == "__main__":
    serve({command.__name__: command for command in (load, generate, prompts, forward, digest)})
