"""Makes the golden files of torch-heads with transformers 4.57 in PyTorch, the last version with head masks.

    python tests/golden/make_torch_heads.py            writes tests/golden/torch_heads/
    python tests/golden/make_torch_heads.py --check    computes everything anew and compares

squad/ and squad_half/: XLNet's heads for SQuAD, as XLM has them, in float32 and float16: weights as
model.safetensors, golden.npz with `in_` inputs and one group of outputs for each way of calling them. summary/:
sequence summaries, one group of each config. masks/ and decoder_masks/: the checkpoints of bert_tasks and opt_gptneo
with masks for each query and masks of heads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from safetensors.torch import save_file
from shared import encoder, inputs, run, save_arrays
from transformers import BertModel, GPTNeoModel, OPTModel, XLMConfig
from transformers.models.xlm.modeling_xlm import XLMSequenceSummary, XLMSQuADHead

HERE = Path(__file__).parent
BATCH, TOKENS, WIDTH = 3, 9, 12
SQUAD = dict(emb_dim=WIDTH, start_n_top=2, end_n_top=3, layer_norm_eps=1e-5)
SUMMARIES: dict[str, dict[str, Any]] = {
    "last": dict(summary_type="last", summary_use_proj=False),
    "first": dict(summary_type="first", summary_use_proj=False, summary_activation="tanh"),
    "mean": dict(summary_type="mean", summary_use_proj=True, summary_proj_to_labels=False),
    "index": dict(summary_type="cls_index", summary_use_proj=True, summary_proj_to_labels=True, num_labels=4),
    "dropped": dict(
        summary_type="cls_index",
        summary_use_proj=True,
        summary_proj_to_labels=False,
        summary_activation="gelu",
        summary_first_dropout=0.3,
        summary_last_dropout=0.2,
    ),
}
MASKED = ("base_odd", "base_one_head", "base_decoder_odd", "causal_lm_cross_odd")  # of bert_tasks
DECODERS = ("opt_base", "opt_post", "neo_base", "neo")  # of opt_gptneo


def moved(module: Any, seed: int) -> Any:
    """The module with all of its parameters drawn, biases and scales too, so that each of them counts."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def squad_inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    p_mask = np.zeros((BATCH, TOKENS), np.float32)
    p_mask[:, 0] = 1
    p_mask[1, 7:] = 1
    p_mask[2, 1:4] = 1
    return {
        "hidden_states": rng.normal(size=(BATCH, TOKENS, WIDTH)).astype(np.float32),
        "start_states": rng.normal(size=(BATCH, TOKENS, WIDTH)).astype(np.float32),
        "start_positions": np.array([2, 1, 5]),
        "end_positions": np.array([4, 1, 8]),
        "cls_index": np.array([0, 8, 3]),
        "is_impossible": np.array([0.0, 1.0, 0.0], np.float32),
        "p_mask": p_mask,
    }


def make_squad(folder: Path, dtype: torch.dtype) -> None:
    head = moved(XLMSQuADHead(XLMConfig(**SQUAD)), 0)
    folder.mkdir(parents=True)
    save_file(head.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    head = head.to(dtype)
    given = squad_inputs()
    known = {name: torch.from_numpy(value) for name, value in given.items()}
    known = {name: value.to(dtype) if value.is_floating_point() else value for name, value in known.items()}
    x, mask, first, index = (known[name] for name in ("hidden_states", "p_mask", "start_positions", "cls_index"))
    ends = {"start_positions": first, "end_positions": known["end_positions"]}
    answer = {"cls_index": index, "is_impossible": known["is_impossible"]}
    groups: dict[str, dict[str, Any]] = {
        "parts": {
            "start": head.start_logits(x),
            "start_masked": head.start_logits(x, p_mask=mask),
            "end_of_states": head.end_logits(x, start_states=known["start_states"]),
            "end_of_positions": head.end_logits(x, start_positions=first, p_mask=mask),
            "class_of_states": head.answer_class(x, start_states=x[:, 2]),
            "class_of_positions": head.answer_class(x, start_positions=first, cls_index=index),
        },
        "loss": {
            "plain": head(x, **ends)[0],
            "masked": head(x, **ends, p_mask=mask)[0],
            "answerable": head(x, **ends, **answer)[0],
            "all": head(x, **ends, **answer, p_mask=mask)[0],
        },
        "plain": dict(head(x, return_dict=True)),
        "masked": dict(head(x, cls_index=index, p_mask=mask, return_dict=True)),
    }
    arrays = {name: {key: value.detach().numpy() for key, value in group.items()} for name, group in groups.items()}
    save_arrays(folder, **{"in": given}, **arrays)
    if dtype is torch.float32:
        groups["loss"]["all"].backward()
        (folder / "gradients").mkdir()
        found = {name: parameter.grad for name, parameter in head.named_parameters()}
        save_file(found, folder / "gradients" / "model.safetensors", metadata={"format": "pt"})


def make_summaries(folder: Path) -> None:
    rng = np.random.default_rng(4)
    given = {
        "hidden_states": rng.normal(size=(BATCH, TOKENS, WIDTH)).astype(np.float32),
        "cls_index": np.array([4, 0, 8]),
        "choices": rng.normal(size=(BATCH, 2, TOKENS, WIDTH)).astype(np.float32),
        "choices_index": np.array([[1, 8], [0, 2], [7, 7]]),
    }
    known = {name: torch.from_numpy(value) for name, value in given.items()}
    folder.mkdir(parents=True)
    groups: dict[str, Any] = {"in": given}
    for number, (name, fields) in enumerate(SUMMARIES.items()):
        summary = moved(XLMSequenceSummary(XLMConfig(emb_dim=WIDTH, **fields)), number)
        with torch.no_grad():
            found = {"summary": summary(known["hidden_states"], known["cls_index"]).numpy()}
            found["default"] = summary(known["hidden_states"]).numpy()
            if fields["summary_type"] == "cls_index":
                found["choices"] = summary(known["choices"], known["choices_index"]).numpy()
        weights = {key.replace(".", "_"): value.numpy() for key, value in summary.state_dict().items()}
        groups[name] = {**found, **weights}
    save_arrays(folder, **groups)
    (folder / "golden.json").write_text(json.dumps(SUMMARIES, indent=1) + "\n")


def make_masks(folder: Path) -> None:
    rng = np.random.default_rng(5)
    groups: dict[str, Any] = {}
    for name in MASKED:
        model = BertModel.from_pretrained(
            HERE / "bert_tasks" / name, attn_implementation="eager", add_pooling_layer=False
        ).eval()
        given = inputs(model.config)
        batch, tokens = given["input_ids"].shape
        mask = (rng.random((batch, tokens, tokens)) < 0.6).astype(np.int64)
        mask[:, range(tokens), range(tokens)] = 1  # every query sees itself: what it would see else is not defined
        heads = rng.random((model.config.num_hidden_layers, model.config.num_attention_heads)).astype(np.float32)
        heads[0, 0] = 0 if heads.size > 1 else 0.5
        across = encoder(model.config) if model.config.add_cross_attention else {}
        if across:
            seen = rng.random((batch, tokens, across["encoder_hidden_states"].shape[1])) < 0.6
            seen[:, :, 0] = True
            across["encoder_attention_mask"] = seen.astype(np.int64)
        tensors = {key: torch.from_numpy(value) for key, value in {**given, **across}.items()}
        tensors["attention_mask"] = torch.from_numpy(mask)
        with torch.no_grad():
            plain = model(**tensors, output_attentions=True)
            masked = model(**tensors, head_mask=torch.from_numpy(heads), output_attentions=True)
        groups[name] = {
            "mask": mask,
            "heads": heads,
            **({"encoder_mask": across["encoder_attention_mask"]} if across else {}),
            "hidden": plain.last_hidden_state.numpy(),
            "hidden_of_heads": masked.last_hidden_state.numpy(),
            "attentions_of_heads": np.stack([one.numpy() for one in masked.attentions]),
        }
    folder.mkdir(parents=True)
    save_arrays(folder, **groups)


def make_decoder_masks(folder: Path) -> None:
    """OPT with masks for each query, GPT-Neo with two texts in a row and masks of heads, which 4.57's OPT ignores."""
    rng = np.random.default_rng(6)
    lowest = torch.finfo(torch.float32).min
    groups: dict[str, Any] = {}
    for name in DECODERS:
        kind = OPTModel if name.startswith("opt") else GPTNeoModel
        model = kind.from_pretrained(HERE / "opt_gptneo" / name, attn_implementation="eager").eval()
        ids = rng.integers(1, model.config.vocab_size, (BATCH, TOKENS))
        text = np.arange(TOKENS) >= np.array([3, 5, TOKENS])[:, None]  # which of two texts a token is in
        together = text[:, :, None] == text[:, None]
        if kind is OPTModel:
            together = rng.random(together.shape) < 0.6
            together[:, range(TOKENS), range(TOKENS)] = True
        mask = (together if kind is OPTModel else np.tril(together)).astype(np.int64)
        positions = np.broadcast_to(np.arange(TOKENS), ids.shape).copy()
        given = {"input_ids": torch.from_numpy(ids), "position_ids": torch.from_numpy(positions)}
        added = (1.0 - torch.from_numpy(mask)[:, None].float()) * lowest
        group = {"ids": ids, "mask": mask, "positions": positions}
        with torch.no_grad():
            group["hidden"] = model(**given, attention_mask=added).last_hidden_state.numpy()
            if kind is GPTNeoModel:
                heads = rng.random((model.config.num_layers, model.config.num_heads)).astype(np.float32)
                heads[0, 0] = 0
                options = {"head_mask": torch.from_numpy(heads), "output_attentions": True}
                masked = model(**given, attention_mask=added, **options)
                group["heads"] = heads
                group["hidden_of_heads"] = masked.last_hidden_state.numpy()
                group["attentions_of_heads"] = np.stack([one.numpy() for one in masked.attentions])
        groups[name] = group
    folder.mkdir(parents=True)
    save_arrays(folder, **groups)


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in ("squad", "squad_half", "summary", "masks", "decoder_masks"):
        if (folder / name).exists():
            for file in sorted((folder / name).rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            (folder / name).rmdir()
    make_squad(folder / "squad", torch.float32)
    make_squad(folder / "squad_half", torch.float16)
    make_summaries(folder / "summary")
    make_masks(folder / "masks")
    make_decoder_masks(folder / "decoder_masks")
    return 2 + len(SUMMARIES) + len(MASKED) + len(DECODERS)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_heads", make, load_file)
