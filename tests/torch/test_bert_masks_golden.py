"""BERT with masks for each query, masks of heads, and both: golden files made by tests/golden/make_torch_heads.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from torch_heads import BertModel

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "torch_heads" / "masks" / "golden.npz") as data:
        return dict(data)


@pytest.fixture(params=["base_odd", "base_one_head", "base_decoder_odd", "causal_lm_cross_odd"])
def name(request):
    return request.param


@pytest.fixture(params=["eager", "sdpa"])
def model(name, request):
    return BertModel.from_pretrained(
        GOLDEN / "bert_tasks" / name, backend=request.param, add_cross_attention="cross" in name
    )


@pytest.fixture
def inputs(name, arrays):
    with np.load(GOLDEN / "bert_tasks" / name / "golden.npz") as data:
        found = {key.removeprefix("in_"): torch.from_numpy(data[key]) for key in data.files if key.startswith("in_")}
    found["attention_mask"] = torch.from_numpy(arrays[f"{name}_mask"])
    if f"{name}_encoder_mask" in arrays:
        found["encoder_attention_mask"] = torch.from_numpy(arrays[f"{name}_encoder_mask"])
    return found


def test_a_mask_for_each_query_equals_the_reference(model, name, inputs, arrays):
    assert inputs["attention_mask"].dim() == 3

    with torch.no_grad():
        found = model(**inputs).last_hidden_state

    np.testing.assert_allclose(found, arrays[f"{name}_hidden"], atol=1e-5)


def test_a_mask_of_heads_equals_the_reference(model, name, inputs, arrays):
    heads = torch.from_numpy(arrays[f"{name}_heads"])

    with torch.no_grad():
        found = model(**inputs, head_mask=heads).last_hidden_state
        shown = model(**inputs, head_mask=heads, output_attentions=True)

    np.testing.assert_allclose(found, arrays[f"{name}_hidden_of_heads"], atol=1e-5)
    np.testing.assert_allclose(torch.stack(shown.attentions), arrays[f"{name}_attentions_of_heads"], atol=1e-5)
