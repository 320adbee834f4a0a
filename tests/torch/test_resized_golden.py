"""Vocabularies of other sizes against transformers: golden files made by tests/golden/make_torch_resized.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import torch_heads

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "masked_lm": ("BertForMaskedLM", "bert_tasks/masked_lm_odd"),
    "masked_lm_untied": ("BertForMaskedLM", "bert_tasks/masked_lm_untied"),
    "causal_lm": ("BertLMHeadModel", "bert_tasks/causal_lm_odd"),
    "opt": ("OPTForCausalLM", "opt_gptneo/opt"),
    "opt_untied": ("OPTForCausalLM", "opt_gptneo/opt_untied"),
    "neo": ("GPTNeoForCausalLM", "opt_gptneo/neo"),
    "neo_untied": ("GPTNeoForCausalLM", "opt_gptneo/neo_untied"),
}
OLD = 29  # tokens of the checkpoints' vocabularies


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "torch_resized" / "golden.npz") as data:
        return dict(data)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("what", "size", "multiple"), [("larger", 34, 8), ("smaller", 20, None)])
def test_logits_of_a_resized_model_equal_the_reference(name, backend, what, size, multiple, arrays):
    model_class, folder = CASES[name]
    model = getattr(torch_heads, model_class).from_pretrained(GOLDEN / folder, backend=backend)
    expected = arrays[f"{name}_{what}"]

    model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
    with torch.no_grad():
        found = model(torch.from_numpy(arrays["ids"])).logits.numpy()

    assert found.shape == expected.shape
    np.testing.assert_allclose(found[..., :OLD], expected[..., :OLD], atol=1e-5, rtol=1e-5)
    # New rows are drawn, close to the mean of the old ones. Biases too, where transformers gives those of tied heads 0.
    np.testing.assert_allclose(found[..., OLD:], expected[..., OLD:], atol=0.06)
    assert expected[..., :OLD].std() > 0.3
