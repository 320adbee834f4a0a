"""Makes the golden files of BERT's tasks with the reference implementation, transformers 5 in PyTorch.

    python tests/golden/make_bert_tasks.py            writes tests/golden/bert_tasks/
    python tests/golden/make_bert_tasks.py --check    computes everything anew and compares

Each case is a tiny random checkpoint as transformers saves it, and beside it golden.npz: `in_` inputs, `label_` what
the loss is computed from, `out_` outputs and loss, `plain_` outputs for the ids alone, `step_` logits of decoding one
token at a time; and gradients/, the loss's gradient for every parameter, under the parameter's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import save_file
from shared import ODD, SHAPES, encoder, inputs, real_positions, run, save_arrays
from transformers import BertConfig

DECODER = dict(is_decoder=True)
CROSS = dict(is_decoder=True, add_cross_attention=True)
SMALL = dict(ODD, hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=12)
TASKS = {
    "base": ("BertModel", {}),
    "base_decoder": ("BertModel", DECODER),
    "pretraining": ("BertForPreTraining", {}),
    "masked_lm": ("BertForMaskedLM", {}),
    "next_sentence": ("BertForNextSentencePrediction", {}),
    "sequence": ("BertForSequenceClassification", dict(num_labels=3, classifier_dropout=0.3)),
    "choice": ("BertForMultipleChoice", {}),
    "token": ("BertForTokenClassification", dict(num_labels=5)),
    "question": ("BertForQuestionAnswering", {}),
    "causal_lm": ("BertLMHeadModel", DECODER),
    "causal_lm_cross": ("BertLMHeadModel", CROSS),
}
CASES = {
    **{
        f"{task}_{shape}": (name, {**sizes, **changes})
        for task, (name, changes) in TASKS.items()
        for shape, sizes in SHAPES.items()
    },
    **{
        f"masked_lm_{act}": ("BertForMaskedLM", {**SMALL, "hidden_act": act})
        for act in ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh")
    },
    "masked_lm_deep": ("BertForMaskedLM", {**SMALL, "num_hidden_layers": 12, "intermediate_size": 8}),
    "masked_lm_untied": ("BertForMaskedLM", {**ODD, "tie_word_embeddings": False}),
    "pretraining_untied": ("BertForPreTraining", {**SMALL, "tie_word_embeddings": False}),
    "causal_lm_untied": ("BertLMHeadModel", {**SMALL, **CROSS, "tie_word_embeddings": False}),
    "sequence_plain": ("BertForSequenceClassification", {**SMALL, "num_labels": 3}),
    "sequence_regression": (
        "BertForSequenceClassification",
        {**SMALL, "num_labels": 1, "problem_type": "regression"},
    ),
    "sequence_multi_label": (
        "BertForSequenceClassification",
        {**SMALL, "num_labels": 4, "problem_type": "multi_label_classification"},
    ),
}
PADDING = -100  # labels that count for nothing


def labels(name: str, config: BertConfig, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the reference computes its loss from; nothing depends on the states of a decoder's padding."""
    rng = np.random.default_rng(2)
    mask = given["attention_mask"]
    batch, tokens = mask.shape[0], mask.shape[-1]
    words = np.where((rng.random(mask.shape) < 0.6) & (mask == 1), rng.integers(0, config.vocab_size, mask.shape), -100)
    match name:
        case "BertForPreTraining":
            return {"labels": words, "next_sentence_label": rng.integers(0, 2, batch)}
        case "BertForMaskedLM":
            return {"labels": words}
        case "BertLMHeadModel":  # the first real token would be predicted from padding
            seen = np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
            return {"labels": np.where(mask * seen == 1, given["input_ids"], PADDING)}
        case "BertForTokenClassification":
            return {"labels": np.where(mask == 1, rng.integers(0, config.num_labels, mask.shape), PADDING)}
        case "BertForQuestionAnswering":  # an end beyond the tokens counts for nothing
            return {"start_positions": np.array([1, 2, 4]), "end_positions": np.array([3, tokens + 5, 6])}
        case "BertForSequenceClassification" if config.problem_type == "regression":
            return {"labels": rng.normal(size=batch).astype(np.float32)}
        case "BertForSequenceClassification" if config.problem_type == "multi_label_classification":
            return {"labels": rng.integers(0, 2, (batch, config.num_labels)).astype(np.float32)}
        case "BertModel":  # weights of a sum over the outputs
            shape = (*mask.shape, config.hidden_size)
            hidden = rng.normal(size=shape) * mask[..., None]
            pooled = rng.normal(size=(batch, config.hidden_size)) * mask[:, :1]
            return {"last_hidden_state": hidden.astype(np.float32), "pooler_output": pooled.astype(np.float32)}
        case "BertForMultipleChoice":
            return {"labels": rng.integers(0, mask.shape[1], batch)}
        case _:
            return {"labels": rng.integers(0, 2 if "NextSentence" in name else config.num_labels, batch)}


def build(number: int, name: str, config: BertConfig) -> Any:
    torch.manual_seed(number)
    model = getattr(transformers, name)._from_config(config, attn_implementation="eager").eval()
    for parameter in model.parameters():  # biases and scales away from 0 and 1, so that each of them counts
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def plain_outputs(output: Any) -> dict[str, Any]:
    """The arrays of an output, without the cache."""
    return {
        name: tuple(one.detach().numpy() for one in value) if isinstance(value, tuple) else value.detach().numpy()
        for name, value in output.items()
        if name != "past_key_values" and value is not None and value != ()
    }


def loss_and_outputs(model: Any, given: dict[str, np.ndarray], aims: dict[str, np.ndarray]) -> tuple[Any, Any]:
    wanted = dict(output_hidden_states=True, output_attentions=True)
    if isinstance(model, transformers.BertModel):
        output = model(**tensors(given), **wanted)
        return sum((output[name] * weights).sum() for name, weights in tensors(aims).items()), output
    output = model(**tensors(given), **tensors(aims), **wanted)
    return output.loss, output


def steps(model: Any, given: dict[str, np.ndarray]) -> np.ndarray:
    """Logits [B, T, V] of decoding: three tokens together, then one at a time, each after what the cache holds."""
    found, cache = [], None
    mask = given["attention_mask"]
    across = {name: array for name, array in given.items() if name.startswith("encoder_")}
    for start, stop in [(0, 3)] + [(at, at + 1) for at in range(3, mask.shape[1])]:
        now = {
            "input_ids": given["input_ids"][:, start:stop],
            "position_ids": real_positions(mask)[:, start:stop],
            "attention_mask": mask[:, :stop],
            **across,
        }
        with torch.no_grad():
            output = model(**tensors(now), past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits.numpy())
    return np.concatenate(found, axis=1)


def make_case(folder: Path, number: int, name: str, changes: dict[str, Any]) -> None:
    config = BertConfig(**changes)
    model = build(number, name, config)
    model.save_pretrained(folder)
    given = inputs(config, choices=3 if name == "BertForMultipleChoice" else 0)
    if config.add_cross_attention:
        given |= encoder(config)
    aims = labels(name, config, given)
    loss, output = loss_and_outputs(model, given, aims)
    loss.backward()
    save_gradients(folder / "gradients", model)
    with torch.no_grad():
        plain = model(torch.from_numpy(given["input_ids"]))
    groups = {"in": given, "label": aims, "out": {**plain_outputs(output), "loss": loss.detach().numpy()}}
    if name == "BertLMHeadModel":
        groups["step"] = {"logits": steps(model, given)}
    save_arrays(folder, **groups, plain=plain_outputs(plain))


def save_gradients(folder: Path, model: Any) -> None:
    """Every gradient under the name of its parameter; a parameter without one has no part in the computation."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    save_file(found, folder / "model.safetensors", metadata={"format": "pt"})


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for number, (case, (name, changes)) in enumerate(CASES.items()):
        make_case(folder / case, number, name, changes)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "bert_tasks", make, load_file)
