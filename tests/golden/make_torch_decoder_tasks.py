"""Makes the golden files of OPT's and GPT-Neo's classifiers with the reference, transformers 5 in PyTorch.

    python tests/golden/make_torch_decoder_tasks.py            writes tests/golden/torch_decoder_tasks/
    python tests/golden/make_torch_decoder_tasks.py --check    computes everything anew and compares

Each case is a tiny random checkpoint as transformers saves it, and beside it golden.npz: `in_` ids, mask and labels,
`out_` logits and loss. The batch has a row without padding, one padded on the right, one on the left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from shared import TOKENS, run, save_arrays

SIZES = dict(vocab_size=29, hidden_size=8, max_position_embeddings=13, pad_token_id=0, bos_token_id=2, eos_token_id=2)
OPT = dict(SIZES, num_attention_heads=2, num_hidden_layers=1, ffn_dim=12, init_std=0.3)
POST = dict(OPT, do_layer_norm_before=False, word_embed_proj_dim=6)
NEO = dict(
    SIZES, num_heads=2, num_layers=2, intermediate_size=12, attention_types=[[["global", "local"], 1]], window_size=3,
    initializer_range=0.3,
)  # fmt: skip
CASES = {
    "opt_sequence": ("OPTForSequenceClassification", {**OPT, "num_labels": 3}),
    "opt_sequence_post": ("OPTForSequenceClassification", {**POST, "num_labels": 3}),
    "opt_sequence_regression": ("OPTForSequenceClassification", {**OPT, "num_labels": 1}),
    "opt_sequence_multi_label": (
        "OPTForSequenceClassification",
        {**OPT, "num_labels": 4, "problem_type": "multi_label_classification"},
    ),
    "opt_question": ("OPTForQuestionAnswering", OPT),
    "opt_question_post": ("OPTForQuestionAnswering", POST),
    "neo_sequence": ("GPTNeoForSequenceClassification", {**NEO, "num_labels": 3}),
    "neo_token": ("GPTNeoForTokenClassification", {**NEO, "num_labels": 3}),
    "neo_question": ("GPTNeoForQuestionAnswering", {**NEO, "window_size": 6}),  # padding sees a token
}


def inputs(name: str, config: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, config.vocab_size, (3, TOKENS))
    mask = np.ones_like(ids)
    mask[1, 4:] = 0
    if not name.endswith(
        "QuestionAnswering"
    ):  # its loss counts every place, and what padding sees is left to a backend
        mask[2, :3] = 0
    return {"input_ids": ids * mask, "attention_mask": mask, **labels(name, config, mask)}


def labels(name: str, config: Any, mask: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    if name.endswith("QuestionAnswering"):
        return {"start_positions": np.array([1, 0, 4]), "end_positions": np.array([2, 3, TOKENS + 5])}
    if name.endswith("TokenClassification"):
        return {"labels": np.where(mask == 1, rng.integers(0, config.num_labels, mask.shape), -100)}
    if config.num_labels == 1:
        return {"labels": rng.normal(size=3).astype(np.float32)}
    if config.problem_type == "multi_label_classification":
        return {"labels": rng.integers(0, 2, (3, config.num_labels)).astype(np.float32)}
    return {"labels": rng.integers(0, config.num_labels, 3)}


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for number, (case, (name, changes)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        kind = getattr(transformers, name)
        model = kind._from_config(kind.config_class(**changes), attn_implementation="eager").eval()
        model.save_pretrained(folder / case)
        given = inputs(name, model.config)
        with torch.no_grad():
            output = model(**{key: torch.from_numpy(value) for key, value in given.items()}, use_cache=False)
        wanted = ("loss", "logits", "start_logits", "end_logits")
        save_arrays(
            folder / case, **{"in": given, "out": {key: output[key].numpy() for key in wanted if key in output}}
        )
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_decoder_tasks", make, lambda path: {})
