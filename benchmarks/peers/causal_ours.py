"""Our worker for OPT and GPT-Neo. Imports are inside of the commands: `prompts` counts them."""

from __future__ import annotations

from typing import Any

from protocol import seconds_of, serve

held: dict[str, Any] = {}
SPREAD = 0.06  # of random weights: wide enough that greedy text does not repeat one token


def make(family: str, hub: str, msgpack: str) -> dict[str, Any]:
    """A model of the 125M shape with random parameters, saved for everyone; bytes that a step of decoding reads."""
    if family == "opt":
        from flax_opt import FlaxOPTForCausalLM, OPTConfig

        model: Any = FlaxOPTForCausalLM(OPTConfig(init_std=SPREAD, eos_token_id=None))
        positions = model.params["model"]["decoder"]["embed_positions"]["embedding"]
    else:
        from flax_gptneo import FlaxGPTNeoForCausalLM, GPTNeoConfig

        sizes: dict[str, Any] = {"hidden_size": 768, "num_layers": 12, "num_heads": 12}
        blocks = [(["global", "local"], 6)]
        model = FlaxGPTNeoForCausalLM(
            GPTNeoConfig(**sizes, attention_types=blocks, initializer_range=SPREAD, eos_token_id=None)
        )
        positions = model.params["transformer"]["wpe"]["embedding"]
    model.save_pretrained(hub)
    model.save_pretrained(msgpack, safe_serialization=False)
    # Of the table of positions a step reads a row; the token embeddings are the head's matrix too.
    read = 4 * (model.num_parameters() - positions.size)
    return {"parameters": read, "cache": 4 * 2 * model.config.num_hidden_layers * model.config.hidden_size}


def load(family: str, folder: str) -> dict[str, Any]:
    held["model"] = _class(family).from_pretrained(folder)
    return {}


def generate(batch: int, tokens: int, new: int, beams: int) -> dict[str, Any]:
    import numpy as np

    found: list[Any] = []
    prompts = _prompts(batch, tokens)
    seconds = seconds_of(lambda: found.append(np.asarray(_generated(prompts, new, num_beams=beams))))
    return {"seconds": seconds, "tokens": found[0].tolist()}


def stream(batch: int, tokens: int, new: int) -> dict[str, Any]:
    """The same tokens through an iterator, in chunks of the default size."""
    model = held["model"]
    prompts = _prompts(batch, tokens)
    return {"seconds": seconds_of(lambda: list(model.stream(prompts, max_new_tokens=new, do_sample=False)))}


def prompts(family: str, folder: str, lengths: list[int], new: int) -> dict[str, Any]:
    """Import, load, compile, generate for one prompt of each length; how many programs were compiled."""
    from flax_runtime.testing.counting import compilations

    with compilations() as compiled:
        load(family, folder)
        tokens = [_generated(_prompts(1, length), new)[0, length:].tolist() for length in lengths]
    return {"tokens": tokens, "programs": len(compiled)}


def forward(batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import blocked

    model = held["model"]
    return {"seconds": blocked(model, *inputs_of(batch, tokens, model.config.vocab_size))}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    """A few numbers of the result, to see that all compute the same."""
    import numpy as np
    from inputs import inputs_of

    model = held["model"]
    logits = model(*inputs_of(batch, tokens, model.config.vocab_size)).logits
    return {"numbers": np.asarray(logits[:, : tokens // 2, :8]).tolist()}


def _class(family: str) -> Any:
    if family == "opt":
        from flax_opt import FlaxOPTForCausalLM

        return FlaxOPTForCausalLM
    from flax_gptneo import FlaxGPTNeoForCausalLM

    return FlaxGPTNeoForCausalLM


def _prompts(batch: int, tokens: int) -> Any:
    from inputs import prompts_of

    return prompts_of(batch, tokens, held["model"].config.vocab_size)


def _generated(prompts: Any, new: int, **options: Any) -> Any:
    return held["model"].generate(prompts, max_new_tokens=new, do_sample=False, **options).sequences


if __name__ == "__main__":
    serve({command.__name__: command for command in (make, load, generate, stream, prompts, forward, digest)})
