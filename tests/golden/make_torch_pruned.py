"""Models whose heads transformers 4 has pruned: `python tests/golden/make_torch_pruned.py`, with transformers 4.57.

The models are those of other golden files; transformers 5 prunes no more. With `--check`, the files are compared with
what is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from shared import HERE, run

IDS = torch.tensor([[1, 5, 7, 2, 3], [1, 9, 2, 8, 4]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
HEADS = {0: [0, 3], 1: [2]}
CASES = {
    "base": ("BertModel", "bert_tasks/base_odd"),
    "sequence": ("BertForSequenceClassification", "bert_tasks/sequence_odd"),
    "causal_lm_cross": ("BertLMHeadModel", "bert_tasks/causal_lm_cross_odd"),
}


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for case, (name, base) in CASES.items():
        model = getattr(transformers, name).from_pretrained(HERE / base, attn_implementation="eager").eval()
        model.prune_heads(HEADS)
        model.save_pretrained(folder / case)
        (folder / case / "generation_config.json").unlink(missing_ok=True)
        across = {}
        if model.config.add_cross_attention:
            numbers = torch.Generator().manual_seed(0)
            across["encoder_hidden_states"] = torch.randn(2, 4, model.config.hidden_size, generator=numbers)
        with torch.no_grad():
            output = model(IDS, attention_mask=MASK, output_attentions=True, **across)
        arrays = {"first": output[0].numpy(), "attention": output.attentions[0].numpy()}
        arrays |= {name: array.numpy() for name, array in across.items()}
        np.savez_compressed(folder / case / "golden.npz", **arrays)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_pruned", make, load_file)
