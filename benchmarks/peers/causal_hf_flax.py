"""transformers' Flax OPT and GPT-Neo, generate and forward under jit, with transformers 4."""

from __future__ import annotations

from typing import Any

from protocol import seconds_of, serve

held: dict[str, Any] = {"programs": {}}
NEVER = 1_000_000  # an id that is no token ends nothing; without an id, generate fails


def load(family: str, folder: str) -> dict[str, Any]:
    import jax
    import transformers

    name = {"opt": "FlaxOPTForCausalLM", "gpt_neo": "FlaxGPTNeoForCausalLM"}[family]
    model = held["model"] = getattr(transformers, name).from_pretrained(folder)
    held["programs"].clear()

    def call(params: Any, ids: Any, mask: Any) -> Any:
        return model(input_ids=ids, attention_mask=mask, params=params).logits

    held["call"] = jax.jit(call)
    return {}


def generate(batch: int, tokens: int, new: int, beams: int) -> dict[str, Any]:
    import numpy as np

    found: list[Any] = []
    prompts = _prompts(batch, tokens)
    seconds = seconds_of(lambda: found.append(np.asarray(_generated(prompts, new, beams))))
    return {"seconds": seconds, "tokens": found[0].tolist()}


def prompts(family: str, folder: str, lengths: list[int], new: int) -> dict[str, Any]:
    """Import, load, compile, generate for one prompt of each length."""
    import numpy as np

    load(family, folder)
    return {"tokens": [np.asarray(_generated(_prompts(1, length), new, 1))[0, length:].tolist() for length in lengths]}


def forward(batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import blocked

    model = held["model"]
    return {"seconds": blocked(held["call"], model.params, *inputs_of(batch, tokens, model.config.vocab_size))}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    import numpy as np
    from inputs import inputs_of

    model = held["model"]
    logits = held["call"](model.params, *inputs_of(batch, tokens, model.config.vocab_size))
    return {"numbers": np.asarray(logits[:, : tokens // 2, :8]).tolist()}


def _prompts(batch: int, tokens: int) -> Any:
    from inputs import prompts_of

    return prompts_of(batch, tokens, held["model"].config.vocab_size)


def _generated(prompts: Any, new: int, beams: int) -> Any:
    """By one compiled program, which is what makes it fast; without jit every call compiles anew."""
    import jax

    model, programs = held["model"], held["programs"]

    def run(params: Any, ids: Any) -> Any:
        return model.generate(
            ids,
            params=params,
            max_new_tokens=new,
            num_beams=beams,
            do_sample=False,
            eos_token_id=NEVER,
            pad_token_id=0,
        ).sequences

    if (new, beams) not in programs:
        programs[new, beams] = jax.jit(run)
    return programs[new, beams](model.params, prompts)


if __name__ == "__main__":
    serve({command.__name__: command for command in (load, generate, prompts, forward, digest)})
