"""Vocabularies that transformers 5 has resized: `python tests/golden/make_torch_resized.py`, with transformers 5.

The models are those of other golden files. Each case has ids, logits after growing the vocabulary to a multiple, and
logits after cutting it off; what new rows get is drawn, about the mean of the old ones. With `--check`, the files are
compared with what is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from shared import HERE, run

CASES = {
    "masked_lm": ("BertForMaskedLM", "bert_tasks/masked_lm_odd"),
    "masked_lm_untied": ("BertForMaskedLM", "bert_tasks/masked_lm_untied"),
    "causal_lm": ("BertLMHeadModel", "bert_tasks/causal_lm_odd"),
    "opt": ("OPTForCausalLM", "opt_gptneo/opt"),
    "opt_untied": ("OPTForCausalLM", "opt_gptneo/opt_untied"),
    "neo": ("GPTNeoForCausalLM", "opt_gptneo/neo"),
    "neo_untied": ("GPTNeoForCausalLM", "opt_gptneo/neo_untied"),
}
IDS = torch.tensor([[1, 5, 7, 2, 3], [1, 9, 2, 8, 4]])
LARGER, MULTIPLE, SMALLER = 34, 8, 20


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    groups = {}
    for case, (name, base) in CASES.items():
        for what, (size, multiple) in {"larger": (LARGER, MULTIPLE), "smaller": (SMALLER, None)}.items():
            torch.manual_seed(0)
            model = getattr(transformers, name).from_pretrained(HERE / base, attn_implementation="eager").eval()
            model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
            with torch.no_grad():
                groups[f"{case}_{what}"] = model(IDS).logits.numpy()
    np.savez_compressed(folder / "golden.npz", ids=IDS.numpy(), **groups)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_resized", make, lambda _: {})
