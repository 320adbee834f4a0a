"""Makes the golden files of BERT's tasks with transformers 4.57 in Flax, the last version that has it.

    python tests/golden/make_bert_flax.py            writes tests/golden/bert_flax/
    python tests/golden/make_bert_flax.py --check    computes everything anew and compares

Each case is a tiny random checkpoint as transformers saves it, flax_model.msgpack, and beside it golden.npz: `in_`
inputs, `weight_` weights of the outputs in the loss, `out_` outputs and loss, `masked_` outputs with heads masked,
`plain_` outputs for the ids alone, `step_` logits and cache of decoding one token at a time. golden.json has the
paths and shapes of the parameters and the order of outputs in tuples; gradients/ has the loss's gradient as a tree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import transformers
from flax.serialization import msgpack_restore, to_bytes
from flax.traverse_util import flatten_dict
from shared import SHAPES, encoder, inputs, run, save_arrays
from transformers import BertConfig

TASKS = {
    "base": ("FlaxBertModel", {}),
    "base_cross": ("FlaxBertModel", dict(is_decoder=True, add_cross_attention=True)),
    "pretraining": ("FlaxBertForPreTraining", {}),
    "masked_lm": ("FlaxBertForMaskedLM", {}),
    "next_sentence": ("FlaxBertForNextSentencePrediction", {}),
    "sequence": ("FlaxBertForSequenceClassification", dict(num_labels=3, classifier_dropout=0.3)),
    "choice": ("FlaxBertForMultipleChoice", {}),
    "token": ("FlaxBertForTokenClassification", dict(num_labels=5)),
    "question": ("FlaxBertForQuestionAnswering", {}),
    "causal_lm": ("FlaxBertForCausalLM", dict(is_decoder=True)),
    "causal_lm_cross": ("FlaxBertForCausalLM", dict(is_decoder=True, add_cross_attention=True)),
}
CASES = {
    **{
        f"{task}_{shape}": (name, {**sizes, **changes})
        for task, (name, changes) in TASKS.items()
        for shape, sizes in SHAPES.items()
    },
    "masked_lm_untied": ("FlaxBertForMaskedLM", {**SHAPES["odd"], "tie_word_embeddings": False}),
}
CHECKPOINTED = "one_head"  # cases whose gradients are computed with gradient checkpointing
WANTED = dict(output_hidden_states=True, output_attentions=True)


def build(number: int, name: str, config: BertConfig) -> Any:
    model = getattr(transformers, name)(config, seed=number)
    leaves, form = jax.tree.flatten(model.params)
    keys = jax.random.split(jax.random.key(1000 + number), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    model.params = jax.tree.unflatten(form, moved)  # biases and scales away from 0 and 1, so that each of them counts
    return model


def named_outputs(output: Any) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name != "past_key_values"}


def order(model: Any, call: dict[str, Any]) -> list[str]:
    """Names of the entries of the tuple that a call returns, found by their values."""
    named = model(**call, return_dict=True)
    entries = model(**call, return_dict=False)
    leaves = {name: [np.asarray(leaf) for leaf in jax.tree.leaves(value)] for name, value in named.items()}

    def name_of(entry: Any) -> str:
        found = [np.asarray(leaf) for leaf in jax.tree.leaves(entry)]
        matches = [
            name
            for name, known in leaves.items()
            if len(known) == len(found)
            and all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(known, found, strict=True))
        ]
        assert len(matches) == 1, matches
        return matches[0]

    return [name_of(entry) for entry in entries]


def weights_of(outputs: dict[str, Any], mask: np.ndarray, *, decoder: bool) -> dict[str, np.ndarray]:
    """Weights for a sum over the results; 0 where a decoder's results belong to padding, which sees no token."""
    rng = np.random.default_rng(3)
    found = {}
    for name, value in outputs.items():
        if not isinstance(value, tuple):
            weights = rng.normal(size=value.shape)
            if decoder:
                weights *= mask[:, :1] if value.ndim == 2 else mask[..., None]
            found[name] = weights.astype(np.float32)
    return found


def steps(model: Any, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Decoding: a prompt of four tokens, then one at a time, each after what the cache holds."""
    ids, mask = given["input_ids"], given["attention_mask"]
    prepared = model.prepare_inputs_for_generation(jnp.asarray(ids[:, :4]), ids.shape[1] + 2, jnp.asarray(mask[:, :4]))
    prepared["attention_mask"] = prepared["attention_mask"].at[:, : ids.shape[1]].set(mask)
    across = {name: array for name, array in given.items() if name.startswith("encoder_")}
    found, positions = [], []
    for start, stop in [(0, 4)] + [(at, at + 1) for at in range(4, ids.shape[1])]:
        positions.append(np.asarray(prepared["position_ids"]))
        output = decode(model, ids[:, start:stop], prepared, across)
        found.append(np.asarray(output.logits))
        prepared = model.update_inputs_for_generation(output, prepared)
    layers = [
        layer["attention"]["self"]
        for _, layer in sorted(prepared["past_key_values"]["bert"]["encoder"]["layer"].items())
    ]
    return {
        "logits": np.concatenate(found, axis=1),
        "positions": np.concatenate(positions, axis=1),
        "mask": np.asarray(prepared["attention_mask"]),
        "keys": np.stack([layer["cached_key"] for layer in layers]),
        "values": np.stack([layer["cached_value"] for layer in layers]),
        "length": np.asarray(layers[0]["cache_index"]),
    }


def decode(model: Any, ids: np.ndarray, prepared: dict[str, Any], across: dict[str, np.ndarray]) -> Any:
    """One step. Without cross attention the reference's own call drops the cache, so its module is called."""
    if model.config.add_cross_attention:
        return model(ids, **prepared, **across)
    variables = {"params": model.params, "cache": prepared["past_key_values"]}
    rest = {name: jnp.asarray(prepared[name]) for name in ("attention_mask", "position_ids")}
    output, changed = model.module.apply(
        variables, jnp.asarray(ids), **rest, token_type_ids=jnp.zeros_like(ids), mutable=["cache"]
    )
    output["past_key_values"] = changed["cache"]
    return output


def make_case(folder: Path, case: str, number: int, name: str, changes: dict[str, Any]) -> None:
    config = BertConfig(**changes)
    model = build(number, name, config)
    model.save_pretrained(folder)
    given = inputs(config, choices=3 if name == "FlaxBertForMultipleChoice" else 0)
    if config.add_cross_attention:
        given |= encoder(config)
    outputs = named_outputs(model(**given, **WANTED))
    heads = np.random.default_rng(4).integers(0, 2, (config.num_hidden_layers, config.num_attention_heads))
    masked = {"heads": heads, **named_outputs(model(**given, **WANTED, head_mask=heads))}
    weights = weights_of(outputs, given["attention_mask"], decoder=config.is_decoder)
    if CHECKPOINTED in case:
        model.enable_gradient_checkpointing()

    def loss(params: Any) -> jax.Array:
        output = model(**given, params=params)
        return sum((output[key] * weight).sum() for key, weight in weights.items())

    value, gradients = jax.value_and_grad(loss)(model.params)
    (folder / "gradients").mkdir(exist_ok=True)
    (folder / "gradients" / "flax_model.msgpack").write_bytes(to_bytes(gradients))
    groups = {"in": given, "weight": weights, "out": {**outputs, "loss": np.asarray(value)}, "masked": masked}
    if name == "FlaxBertForCausalLM":
        groups["step"] = steps(model, given)
    save_arrays(folder, **groups, plain=named_outputs(model(given["input_ids"])))
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in described(model, given).items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def described(model: Any, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is no array: the class, its parameters, and the order of outputs."""
    found = {
        "class": type(model).__name__,
        "output": type(model(**given)).__name__,
        "tuple": order(model, given),
        "tuple with everything": order(model, {**given, **WANTED}),
        "parameters": {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(model.params).items()},
    }
    if model.config.add_cross_attention:
        cached = {**given, **WANTED, "past_key_values": model.init_cache(*given["input_ids"].shape)}
        found["tuple with a cache"] = order(model, cached)
        found["names with a cache"] = list(model(**cached).keys())
    return found


def gradients_of(file: Path) -> dict[str, np.ndarray]:
    return {".".join(path): leaf for path, leaf in flatten_dict(msgpack_restore(file.read_bytes())).items()}


def make(folder: Path) -> int:
    jax.config.update("jax_default_matmul_precision", "float32")
    transformers.logging.set_verbosity_error()
    for number, (case, (name, changes)) in enumerate(CASES.items()):
        make_case(folder / case, case, number, name, changes)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "bert_flax", make, gradients_of)
