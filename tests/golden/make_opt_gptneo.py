"""Makes the golden files of OPT and GPT-Neo with the reference implementation, transformers 5 in PyTorch.

    python tests/golden/make_opt_gptneo.py            writes tests/golden/opt_gptneo/
    python tests/golden/make_opt_gptneo.py --check    computes everything anew and compares

Each case is a tiny random checkpoint as transformers saves it, and beside it golden.npz: `in_` ids and mask, `label_`
what the loss is computed from, `out_` outputs and loss, `plain_` the result for the ids alone, `placed_` positions and
the result with them, `step_` the result of decoding one token at a time; and gradients/, the loss's gradient for every
parameter, under the parameter's name. The batch has a row without padding, one padded on the right, one on the left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_bert_tasks import plain_outputs, save_gradients, tensors
from safetensors.numpy import load_file
from shared import TOKENS, real_positions, run, save_arrays

OPT = dict(
    vocab_size=29,
    hidden_size=15,
    num_attention_heads=5,
    num_hidden_layers=2,
    ffn_dim=21,
    max_position_embeddings=13,
    init_std=0.3,
    pad_token_id=0,  # no id of the batch: PyTorch keeps gradients from its row
    bos_token_id=2,
    eos_token_id=2,
)
SMALL_OPT = dict(OPT, hidden_size=8, num_attention_heads=2, ffn_dim=12)
POST = dict(do_layer_norm_before=False, word_embed_proj_dim=6)  # as opt-350m
NEO = dict(
    vocab_size=29,
    hidden_size=15,
    num_heads=5,
    num_layers=2,
    intermediate_size=21,
    max_position_embeddings=13,
    attention_types=[[["global", "local"], 1]],
    window_size=3,
    initializer_range=0.3,
    bos_token_id=2,
    eos_token_id=2,
)
SMALL_NEO = dict(NEO, hidden_size=8, num_heads=2, intermediate_size=None)
CASES = {
    "opt": ("OPTForCausalLM", OPT),
    "opt_post": ("OPTForCausalLM", {**OPT, **POST}),
    "opt_projected": ("OPTForCausalLM", {**SMALL_OPT, "word_embed_proj_dim": 11}),
    "opt_no_final_norm": ("OPTForCausalLM", {**SMALL_OPT, "_remove_final_layer_norm": True}),
    "opt_no_bias": ("OPTForCausalLM", {**SMALL_OPT, "enable_bias": False}),
    "opt_plain_norm": ("OPTForCausalLM", {**SMALL_OPT, "layer_norm_elementwise_affine": False}),
    "opt_bare": (
        "OPTForCausalLM",
        {**SMALL_OPT, **POST, "enable_bias": False, "layer_norm_elementwise_affine": False},
    ),
    "opt_untied": ("OPTForCausalLM", {**SMALL_OPT, **POST, "tie_word_embeddings": False}),
    "opt_gelu": ("OPTForCausalLM", {**SMALL_OPT, "activation_function": "gelu"}),
    "opt_base": ("OPTModel", SMALL_OPT),
    "opt_base_post": ("OPTModel", {**SMALL_OPT, **POST}),
    "neo": ("GPTNeoForCausalLM", NEO),
    "neo_wide_window": ("GPTNeoForCausalLM", {**SMALL_NEO, "window_size": 12}),
    "neo_narrow_window": (
        "GPTNeoForCausalLM",
        {**SMALL_NEO, "attention_types": [[["local"], 2], [["global"], 1]], "num_layers": 3, "window_size": 1},
    ),
    "neo_untied": ("GPTNeoForCausalLM", {**SMALL_NEO, "tie_word_embeddings": False}),
    "neo_relu": ("GPTNeoForCausalLM", {**SMALL_NEO, "activation_function": "relu", "layer_norm_epsilon": 1e-3}),
    "neo_base": ("GPTNeoModel", SMALL_NEO),
}
PADDING = -100  # labels that count for nothing


def inputs(vocabulary: int) -> dict[str, np.ndarray]:
    """A batch: one sequence without padding, one padded at the end, one at the start."""
    ids = np.random.default_rng(0).integers(1, vocabulary, (3, TOKENS))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    mask[2, :3] = 0
    return {"input_ids": ids, "attention_mask": mask}


def labels(name: str, mask: np.ndarray, ids: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """What the loss is computed from: the ids, or for a backbone weights of a sum; nothing depends on padding."""
    if not name.endswith("CausalLM"):
        weights = np.random.default_rng(3).normal(size=(*mask.shape, width)) * mask[..., None]
        return {"last_hidden_state": weights.astype(np.float32)}
    seen = np.pad(mask, ((0, 0), (1, 0)))[:, :-1]  # the first real token would be predicted from padding
    return {"labels": np.where(mask * seen == 1, ids, PADDING)}


def build(number: int, name: str, changes: dict[str, Any]) -> Any:
    torch.manual_seed(number)
    model_class = getattr(transformers, name)
    model = model_class._from_config(model_class.config_class(**changes), attn_implementation="eager").eval()
    for parameter in model.parameters():  # biases and scales away from 0 and 1, so that each of them counts
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def loss_and_outputs(model: Any, given: dict[str, np.ndarray], aims: dict[str, np.ndarray]) -> tuple[Any, Any]:
    wanted = dict(output_hidden_states=True, output_attentions=True, use_cache=False)
    if "labels" not in aims:
        output = model(**tensors(given), **wanted)
        return sum((output[name] * weights).sum() for name, weights in tensors(aims).items()), output
    output = model(**tensors(given), **tensors(aims), **wanted)
    return output.loss, output


def steps(model: Any, given: dict[str, np.ndarray]) -> np.ndarray:
    """Results [B, T, V or width] of decoding: three tokens together, then one at a time, after what the cache holds.

    OPT counts its positions over the mask; GPT-Neo is told them.
    """
    found, cache = [], None
    mask, counts = given["attention_mask"], model.config.model_type == "opt"
    for start, stop in [(0, 3)] + [(at, at + 1) for at in range(3, mask.shape[1])]:
        now = {"input_ids": given["input_ids"][:, start:stop], "attention_mask": mask[:, :stop]}
        if not counts:
            now["position_ids"] = real_positions(mask)[:, start:stop]
        with torch.no_grad():
            output = model(**tensors(now), past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output[0].numpy())
    return np.concatenate(found, axis=1)


def make_case(folder: Path, number: int, name: str, changes: dict[str, Any]) -> None:
    model = build(number, name, changes)
    model.save_pretrained(folder)
    given = inputs(model.config.vocab_size)
    width = getattr(model.config, "word_embed_proj_dim", model.config.hidden_size)
    aims = labels(name, given["attention_mask"], given["input_ids"], width)
    loss, output = loss_and_outputs(model, given, aims)
    loss.backward()
    save_gradients(folder / "gradients", model)
    outputs = plain_outputs(output)
    if isinstance(states := outputs.get("hidden_states"), tuple):  # the last one may have another width
        outputs |= {"hidden_states": states[:-1], "last_state": states[-1]}
    positions = np.random.default_rng(1).integers(0, model.config.max_position_embeddings, given["input_ids"].shape)
    ids = torch.from_numpy(given["input_ids"])
    with torch.no_grad():
        plain, placed = model(ids)[0], model(ids, position_ids=torch.from_numpy(positions))[0]
    save_arrays(
        folder,
        **{"in": given, "label": aims, "out": {**outputs, "loss": loss.detach().numpy()}},
        plain={"result": plain.numpy()},
        placed={"positions": positions, "result": placed.numpy()},
        step={"result": steps(model, given)},
    )


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for number, (case, (name, changes)) in enumerate(CASES.items()):
        make_case(folder / case, number, name, changes)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "opt_gptneo", make, load_file)
