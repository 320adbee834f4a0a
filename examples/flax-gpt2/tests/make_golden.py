"""Writes tests/golden with the reference implementation; run where torch and transformers 5 are installed.

    python tests/make_golden.py

Weights are random. What is there afterwards:

    sharded/      a causal model in several safetensors files, and what it computes
    old/          the same weights as the first published files had them: no prefix, masks as buffers, pickled
    scaled/       a causal model with every option of attention, and a head of its own
    classifier/   a classifier of texts
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

GOLDEN = Path(__file__).parent / "golden"
SIZES = {"vocab_size": 61, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 32}
PAD, END = 3, 7  # with 0 for PAD, transformers fills beams that have ended with END


def made(kind, **options):
    """A model in which no two parameters are alike, so that a mix-up shows."""
    torch.manual_seed(0)
    config = GPT2Config(**SIZES, bos_token_id=1, eos_token_id=END, pad_token_id=PAD, **options)
    config._attn_implementation = "eager"
    model = kind(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def texts(*, padded):
    """(ids, mask) of three texts of 9, 6 and 3 tokens; padding is on the left or on the right."""
    random = np.random.default_rng(1)
    ids, mask = np.full((3, 9), PAD), np.zeros((3, 9), int)
    for row, length in enumerate((9, 6, 3)):
        place = slice(9 - length, 9) if padded == "left" else slice(0, length)
        ids[row, place], mask[row, place] = random.integers(8, SIZES["vocab_size"], length), 1
    return torch.tensor(ids), torch.tensor(mask)


def write(name, model, outputs, **saving):
    directory = GOLDEN / name
    model.save_pretrained(directory, **saving)
    (directory / "generation_config.json").unlink(missing_ok=True)
    for file in directory.glob("*.safetensors"):
        file.chmod(0o644)
    np.savez_compressed(directory / "outputs.npz", **{key: np.asarray(value) for key, value in outputs.items()})


def sharded():
    model = made(GPT2LMHeadModel)
    ids, mask = texts(padded="right")
    with torch.no_grad():
        output = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    outputs = {"ids": ids, "mask": mask, "logits": output.logits}
    outputs |= {f"state_{i}": state for i, state in enumerate(output.hidden_states)}
    outputs |= {f"attention_{i}": weights for i, weights in enumerate(output.attentions)}

    prompts, seen = texts(padded="left")
    options = {"attention_mask": seen, "max_new_tokens": 12, "do_sample": False}
    beams = {"num_beams": 3, "num_return_sequences": 2, "return_dict_in_generate": True, "output_scores": True}
    found = model.generate(prompts, **options, **beams)
    outputs |= {"prompts": prompts, "prompt_mask": seen, "greedy": model.generate(prompts, **options)}
    outputs |= {"beams": found.sequences, "beam_scores": found.sequences_scores}

    loss = torch.nn.functional.cross_entropy(model(ids[:1]).logits[0, :-1], ids[0, 1:])
    loss.backward()
    outputs["loss"] = loss.detach()
    outputs |= {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    write("sharded", model, outputs, max_shard_size="30KB")
    return model


def old(model):
    """As `pytorch_model.bin` of the first versions: the backbone's names, and in each block the mask of `n_ctx` tokens."""
    directory = GOLDEN / "old"
    directory.mkdir(exist_ok=True)
    tensors = {name: tensor.clone() for name, tensor in model.transformer.state_dict().items()}
    size = SIZES["n_positions"]
    for i in range(SIZES["n_layer"]):
        tensors[f"h.{i}.attn.bias"] = torch.ones(1, 1, size, size, dtype=torch.uint8).tril()
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(tensors, directory / "pytorch_model.bin")
    config = {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 1,
        "embd_pdrop": 0.1, "eos_token_id": END, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2", **SIZES, "n_ctx": size, "n_inner": None, "output_past": True, "resid_pdrop": 0.1,
        "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
        "summary_type": "cls_index", "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def scaled():
    model = made(
        GPT2LMHeadModel,
        n_inner=40,
        activation_function="gelu",
        layer_norm_epsilon=1e-3,
        scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True,
        reorder_and_upcast_attn=True,
        tie_word_embeddings=False,
    )
    ids, mask = texts(padded="right")
    with torch.no_grad():
        write("scaled", model, {"ids": ids, "mask": mask, "logits": model(ids, attention_mask=mask).logits})


def classifier():
    model = made(GPT2ForSequenceClassification, num_labels=3)
    outputs = {}
    for side in ("right", "left"):
        ids, mask = texts(padded=side)
        with torch.no_grad():
            logits = model(ids, attention_mask=mask).logits
        outputs |= {f"{side}_ids": ids, f"{side}_mask": mask, f"{side}_logits": logits}
    write("classifier", model, outputs)


if __name__ == "__main__":
    for name in ("sharded", "old", "scaled", "classifier"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
    old(sharded())
    scaled()
    classifier()
