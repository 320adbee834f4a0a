"""Makes the golden files of OPT and GPT-Neo with transformers 4.57 in Flax, the last version that has it.

    python tests/golden/make_opt_gptneo_flax.py            writes tests/golden/opt_gptneo_flax/
    python tests/golden/make_opt_gptneo_flax.py --check    computes everything anew and compares

Each case is a tiny random checkpoint as transformers saves it, flax_model.msgpack, and beside it golden.npz: `in_` ids
and mask, `weight_` weights of the result in the loss, `out_` outputs and loss, `step_` results and cache of decoding
one token at a time. golden.json has the paths and shapes of the parameters, the arguments of a call, and the order of
outputs in tuples; gradients/ has the loss's gradient as a tree.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import transformers
from flax.serialization import to_bytes
from flax.traverse_util import flatten_dict
from make_bert_flax import gradients_of, named_outputs, order
from shared import TOKENS, run, save_arrays

OPT = dict(
    vocab_size=29,
    hidden_size=12,
    num_attention_heads=3,
    num_hidden_layers=2,
    ffn_dim=17,
    max_position_embeddings=13,
    init_std=0.3,
    pad_token_id=0,
    bos_token_id=2,
    eos_token_id=2,
)
POST = dict(do_layer_norm_before=False, word_embed_proj_dim=6)  # as opt-350m
NEO = dict(
    vocab_size=29,
    hidden_size=12,
    num_heads=3,
    num_layers=2,
    intermediate_size=17,
    max_position_embeddings=13,
    attention_types=[[["global", "local"], 1]],
    window_size=3,
    initializer_range=0.3,
    bos_token_id=2,
    eos_token_id=2,
)
CASES = {
    "opt": ("FlaxOPTForCausalLM", OPT),
    "opt_post": ("FlaxOPTForCausalLM", {**OPT, **POST}),
    "opt_untied": ("FlaxOPTForCausalLM", {**OPT, "tie_word_embeddings": False, "_remove_final_layer_norm": True}),
    "opt_base": ("FlaxOPTModel", OPT),
    "neo": ("FlaxGPTNeoForCausalLM", NEO),
    "neo_wide_window": ("FlaxGPTNeoForCausalLM", {**NEO, "window_size": 12}),
    "neo_untied": ("FlaxGPTNeoForCausalLM", {**NEO, "tie_word_embeddings": False}),
    "neo_base": ("FlaxGPTNeoModel", NEO),
}
WANTED = dict(output_hidden_states=True, output_attentions=True)


def inputs(vocabulary: int) -> dict[str, np.ndarray]:
    """A batch: one sequence without padding, one padded at the end, one at the start."""
    ids = np.random.default_rng(0).integers(1, vocabulary, (3, TOKENS))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    mask[2, :3] = 0
    return {"input_ids": ids, "attention_mask": mask}


def build(number: int, name: str, changes: dict[str, Any]) -> Any:
    model_class = getattr(transformers, name)
    model = model_class(model_class.config_class(**changes), seed=number)
    leaves, form = jax.tree.flatten(model.params)
    keys = jax.random.split(jax.random.key(1000 + number), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    model.params = jax.tree.unflatten(form, moved)  # biases and scales away from 0 and 1, so that each of them counts
    return model


def steps(model: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Decoding: a prompt of four tokens, then one at a time, each after what the cache holds."""
    ids, mask = given["input_ids"], given["attention_mask"]
    causal = transformers.FlaxOPTForCausalLM if model.config.model_type == "opt" else transformers.FlaxGPTNeoForCausalLM
    slots = ids.shape[1] + 2
    prepared = causal.prepare_inputs_for_generation(model, jnp.asarray(ids[:, :4]), slots, jnp.asarray(mask[:, :4]))
    prepared["attention_mask"] = prepared["attention_mask"].at[:, : ids.shape[1]].set(mask)
    found = []
    for start, stop in [(0, 4)] + [(at, at + 1) for at in range(4, ids.shape[1])]:
        output = model(jnp.asarray(ids[:, start:stop]), **prepared)
        found.append(np.asarray(output[0]))
        prepared = causal.update_inputs_for_generation(model, output, prepared)
    cache = {".".join(path): leaf for path, leaf in flatten_dict(prepared["past_key_values"]).items()}
    layers = sorted({path.rpartition(".")[0] for path in cache})
    return {
        "result": np.concatenate(found, axis=1),
        "mask": np.asarray(prepared["attention_mask"]),
        "keys": np.stack([cache[f"{layer}.cached_key"] for layer in layers]),
        "values": np.stack([cache[f"{layer}.cached_value"] for layer in layers]),
        "length": np.asarray(cache[f"{layers[0]}.cache_index"]),
    }


def make_case(folder: Path, number: int, name: str, changes: dict[str, Any]) -> None:
    model = build(number, name, changes)
    model.save_pretrained(folder)
    given = inputs(model.config.vocab_size)
    outputs = named_outputs(model(**given, **WANTED))
    first = next(iter(outputs))
    weights = np.random.default_rng(3).normal(size=outputs[first].shape) * given["attention_mask"][..., None]
    weights = weights.astype(np.float32)

    def loss(params: Any) -> jax.Array:
        return (model(**given, params=params)[first] * weights).sum()

    value, gradients = jax.value_and_grad(loss)(model.params)
    (folder / "gradients").mkdir(exist_ok=True)
    (folder / "gradients" / "flax_model.msgpack").write_bytes(to_bytes(gradients))
    states = outputs["hidden_states"]  # the last one may have another width
    outputs |= {"hidden_states": states[:-1], "last_state": states[-1], "loss": np.asarray(value)}
    groups = {"in": given, "weight": {"result": weights}, "out": outputs, "step": steps(model, given)}
    save_arrays(folder, **groups)
    described = {
        "class": name,
        "arguments": [name for name in inspect.signature(model.__call__).parameters if name != "self"],
        "tuple": order(model, given),
        "tuple with attentions": order(model, {**given, "output_attentions": True}),
        "parameters": {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(model.params).items()},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in described.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def make(folder: Path) -> int:
    jax.config.update("jax_default_matmul_precision", "float32")
    transformers.logging.set_verbosity_error()
    for number, (case, (name, changes)) in enumerate(CASES.items()):
        make_case(folder / case, number, name, changes)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "opt_gptneo_flax", make, gradients_of)
