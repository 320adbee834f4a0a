"""transformers' torch OPT and GPT-Neo with transformers 5."""

from __future__ import annotations

import os
from typing import Any

from protocol import seconds_of, serve

held: dict[str, Any] = {}


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
    prompts = _prompts(batch, tokens)
    seconds = seconds_of(lambda: found.append(_generated(prompts, new, beams, cache)))
    return {"seconds": seconds, "tokens": found[0].tolist()}


def prompts(family: str, folder: str, lengths: list[int], new: int) -> dict[str, Any]:
    """Import, load, generate for one prompt of each length."""
    load(family, folder)
    return {"tokens": [_generated(_prompts(1, length), new, 1, "dynamic")[0, length:].tolist() for length in lengths]}


def forward(batch: int, tokens: int, compiled: bool = False) -> dict[str, Any]:
    """With `compiled`, by torch.compile."""
    import torch

    inputs = _inputs(batch, tokens)
    if compiled and "compiled" not in held:
        held["compiled"] = torch.compile(held["model"], dynamic=False)
    model = held["compiled" if compiled else "model"]
    with torch.inference_mode():
        return {"seconds": seconds_of(lambda: model(**inputs))}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        logits = held["model"](**_inputs(batch, tokens)).logits
    return {"numbers": logits[:, : tokens // 2, :8].tolist()}


def _prompts(batch: int, tokens: int) -> Any:
    import torch
    from inputs import prompts_of

    return torch.from_numpy(prompts_of(batch, tokens, held["model"].config.vocab_size)).long()


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


def _inputs(batch: int, tokens: int) -> dict[str, Any]:
    import torch
    from inputs import inputs_of

    ids, mask = inputs_of(batch, tokens, held["model"].config.vocab_size)
    return {"input_ids": torch.from_numpy(ids).long(), "attention_mask": torch.from_numpy(mask).long()}


if __name__ == "__main__":
    serve({command.__name__: command for command in (load, generate, prompts, forward, digest)})
