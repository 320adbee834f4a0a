"""Masks that are added to scores, equal to those of transformers 4.57 (see tests/golden/make_torch_masks.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import made

from automodels.errors import InputError
from torch_heads import BertModel

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_masks"
TWO = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1]])
THREE = torch.tensor([[[1, 0, 0], [1, 1, 0]], [[1, 1, 1], [0, 1, 0]]])
HEADS = torch.tensor([[1.0, 0.5], [0.0, 1.0], [0.25, 1.0]])


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_masks_are_those_of_transformers(kind, dtype):
    model = made(BertModel, is_decoder=kind == "decoder").to(dtype)
    name = str(dtype).removeprefix("torch.")
    with np.load(GOLDEN / f"{kind}_{name}.npz") as golden:
        expected = dict(golden)

    found = {
        "inverted_two": model.invert_attention_mask(TWO),
        "inverted_three": model.invert_attention_mask(THREE),
        "extended_two": model.get_extended_attention_mask(TWO, (2, 4)),
        "extended_three": model.get_extended_attention_mask(THREE, (2, 2)),
        "heads_of_all_layers": model.get_head_mask(HEADS[0], 3),
        "heads_of_each_layer": model.get_head_mask(HEADS, 3),
        "heads_chunked": model.get_head_mask(HEADS, 3, is_attention_chunked=True),
    }
    assert {mask.dtype for mask in found.values()} == {dtype}
    if kind == "decoder":
        found["extended_past"] = model.get_extended_attention_mask(TWO, (2, 2))
        found["decoder"] = model.create_extended_attention_mask_for_decoder((2, 4), TWO)
        found["decoder_past"] = model.create_extended_attention_mask_for_decoder((2, 2), TWO)
        assert found["decoder"].dtype == TWO.dtype
    assert found.keys() == expected.keys()
    for key, mask in found.items():
        np.testing.assert_array_equal(mask.float().numpy(), expected[key], err_msg=key)


def test_another_type_can_be_asked_for():
    model = made(BertModel)

    mask = model.get_extended_attention_mask(TWO, (2, 4), dtype=torch.float16)

    assert mask.dtype == torch.float16
    assert mask.min() == torch.finfo(torch.float16).min


def test_no_mask_of_heads_is_none_for_each_layer():
    assert made(BertModel).get_head_mask(None, 3) == [None, None, None]


def test_masks_of_other_dimensions_are_refused():
    model, decoder = made(BertModel), made(BertModel, is_decoder=True)

    with pytest.raises(InputError, match=r"encoder_attention_mask has shape \[4\]"):
        model.invert_attention_mask(TWO[0])
    with pytest.raises(InputError, match=r"attention_mask has shape \[1, 1, 2, 4\]"):
        model.get_extended_attention_mask(TWO[None, None], (2, 4))
    with pytest.raises(InputError, match=r"head_mask has shape \[3, 2\]; it needs \[N\] or \[4, N\]"):
        model.get_head_mask(HEADS, 4)
    with pytest.raises(InputError, match=r"head_mask has shape \[1, 3, 2\]"):
        model.get_head_mask(HEADS[None], 3)
    with pytest.raises(InputError, match="attention_mask has 4 tokens, input_ids 5"):
        decoder.get_extended_attention_mask(TWO, (2, 5))
