"""Masks as transformers 4 makes them: `python tests/golden/make_torch_masks.py`, with transformers 4.57 and torch.

transformers 5 has these methods no more. With `--check`, the files are compared with what is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from shared import run
from transformers import BertConfig, BertModel

SHAPES = dict(hidden_size=4, num_hidden_layers=3, num_attention_heads=2, intermediate_size=4, vocab_size=8)
TWO = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
THREE = torch.tensor([[[1, 0, 0], [1, 1, 0]], [[1, 1, 1], [0, 1, 0]]])
HEADS = torch.tensor([[1.0, 0.5], [0.0, 1.0], [0.25, 1.0]])


def masks(dtype: torch.dtype, is_decoder: bool) -> dict[str, np.ndarray]:
    model = BertModel(BertConfig(**SHAPES, is_decoder=is_decoder)).to(dtype)
    found = {
        "inverted_two": model.invert_attention_mask(TWO),
        "inverted_three": model.invert_attention_mask(THREE),
        "extended_two": model.get_extended_attention_mask(TWO, (2, 4)),
        "extended_three": model.get_extended_attention_mask(THREE, (2, 2)),
        "heads_of_all_layers": model.get_head_mask(HEADS[0], 3),
        "heads_of_each_layer": model.get_head_mask(HEADS, 3),
        "heads_chunked": model.get_head_mask(HEADS, 3, is_attention_chunked=True),
    }
    if is_decoder:
        found["extended_past"] = model.get_extended_attention_mask(TWO, (2, 2))
        found["decoder"] = model.create_extended_attention_mask_for_decoder((2, 4), TWO)
        found["decoder_past"] = model.create_extended_attention_mask_for_decoder((2, 2), TWO)
    return {name: mask.float().numpy() for name, mask in found.items()}


def make(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"decoder": True, "encoder": False}
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    for kind, is_decoder in kinds.items():
        for name, dtype in dtypes.items():
            np.savez_compressed(folder / f"{kind}_{name}.npz", **masks(dtype, is_decoder))
    return len(kinds) * len(dtypes)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_masks", make, lambda _: {})
