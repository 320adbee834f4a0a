"""OPT and GPT-Neo with masks for each query and of heads: golden files made by tests/golden/make_torch_heads.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from torch_heads import GPTNeoModel, OPTModel

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {"opt_base": OPTModel, "opt_post": OPTModel, "neo_base": GPTNeoModel, "neo": GPTNeoModel}
NEO = [name for name in CASES if name.startswith("neo")]


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "torch_heads" / "decoder_masks" / "golden.npz") as data:
        return dict(data)


def load(name, backend):
    return CASES[name].from_pretrained(GOLDEN / "opt_gptneo" / name, backend=backend)


def given(name, arrays):
    names = {"input_ids": "ids", "attention_mask": "mask", "position_ids": "positions"}
    return {key: torch.from_numpy(arrays[f"{name}_{short}"]) for key, short in names.items()}


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CASES)
def test_a_mask_for_each_query_equals_the_reference(name, backend, arrays):
    model, inputs = load(name, backend), given(name, arrays)
    assert inputs["attention_mask"].dim() == 3

    with torch.no_grad():
        found = model(**inputs).last_hidden_state
        causal = model(inputs["input_ids"], position_ids=inputs["position_ids"]).last_hidden_state

    np.testing.assert_allclose(found, arrays[f"{name}_hidden"], atol=1e-5, rtol=1e-5)
    assert (found - causal).abs().max() > 1e-2


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", NEO)
def test_a_mask_of_heads_equals_the_reference(name, backend, arrays):
    model, inputs = load(name, backend), given(name, arrays)
    inputs["head_mask"] = torch.from_numpy(arrays[f"{name}_heads"])

    with torch.no_grad():
        found = model(**inputs).last_hidden_state
        shown = model(**inputs, output_attentions=True)

    np.testing.assert_allclose(found, arrays[f"{name}_hidden_of_heads"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(shown.last_hidden_state, arrays[f"{name}_hidden_of_heads"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(torch.stack(shown.attentions), arrays[f"{name}_attentions_of_heads"], atol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", NEO)
def test_two_texts_in_one_row_compute_what_they_compute_alone(name, backend, arrays):
    """Attention that is local counts the tokens of its own text; behind a text's end there is none of the other's."""
    model, inputs = load(name, backend), given(name, arrays)
    length = int(inputs["attention_mask"][0, :, 0].sum())  # of the first row's first text

    with torch.no_grad():
        together = model(**inputs).last_hidden_state[0]
        first = model(inputs["input_ids"][:1, :length]).last_hidden_state[0]
        places = inputs["position_ids"][:1, length:]
        second = model(inputs["input_ids"][:1, length:], position_ids=places).last_hidden_state[0]

    torch.testing.assert_close(together, torch.cat([first, second]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("past", [1, 5])
def test_behind_a_cache_a_mask_for_each_query_says_what_of_the_past_it_sees(name, backend, past, arrays):
    model, inputs = load(name, backend), given(name, arrays)
    mask = inputs.pop("attention_mask").tril()

    with torch.no_grad():
        whole = model(**inputs, attention_mask=mask).last_hidden_state
        early = {key: value[:, :past] for key, value in inputs.items()}
        cache = model(**early, attention_mask=mask[:, :past, :past], use_cache=True).past_key_values
        late = {key: value[:, past:] for key, value in inputs.items()}
        found = model(**late, attention_mask=mask[:, past:], past_key_values=cache).last_hidden_state

    torch.testing.assert_close(found, whole[:, past:], atol=1e-5, rtol=1e-5)
