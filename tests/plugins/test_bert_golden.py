"""BERT against the reference implementation: golden files made by tests/golden/make_bert.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from automodels import AutoModel
from flax_bert import FlaxBertModel

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.name for path in (GOLDEN / "bert").iterdir())
OPTIMIZED = {"odd", "deep", "act_quick_gelu"}


@pytest.fixture(params=CASES)
def case(request):
    """(directory, inputs, expected outputs) of one golden case."""
    data = np.load(GOLDEN / "bert" / request.param / "golden.npz")
    inputs = {name.removeprefix("in_"): data[name] for name in data.files if name.startswith("in_")}
    expected = {name.removeprefix("out_"): data[name] for name in data.files if name.startswith("out_")}
    return GOLDEN / "bert" / request.param, inputs, expected


def test_every_output_equals_the_reference_implementation(case):
    directory, inputs, expected = case

    model = AutoModel.from_pretrained(directory)
    output = model(**inputs, output_hidden_states=True, output_attentions=True)

    assert isinstance(model, FlaxBertModel)
    np.testing.assert_allclose(output.last_hidden_state, expected["last_hidden_state"], atol=1e-5)
    np.testing.assert_allclose(np.stack(output.hidden_states), expected["hidden_states"], atol=1e-5)
    np.testing.assert_allclose(np.stack(output.attentions), expected["attentions"], atol=1e-5)
    if "pooler_output" in expected:
        np.testing.assert_allclose(output.pooler_output, expected["pooler_output"], atol=1e-5)


def test_ids_alone_mean_no_padding_first_segment_and_counted_positions(case):
    directory, inputs, expected = case

    output = AutoModel.from_pretrained(directory)(inputs["input_ids"])

    np.testing.assert_allclose(output.last_hidden_state, expected["plain"], atol=1e-5)


def test_asking_for_attentions_does_not_change_the_result(case):
    directory, inputs, _ = case
    model = AutoModel.from_pretrained(directory)

    with_attentions = model(**inputs, output_attentions=True).last_hidden_state
    without = model(**inputs).last_hidden_state

    np.testing.assert_allclose(with_attentions, without, atol=1e-5)


def test_a_checkpoint_of_a_masked_language_model_loads_with_a_fresh_pooler_and_says_so():
    model = AutoModel.from_pretrained(GOLDEN / "bert" / "masked_lm_sharded")

    report = model.load_report
    assert report.missing == ("pooler.dense.bias", "pooler.dense.kernel")
    assert {name.split(".")[0] for name in report.unexpected} == {"cls"}
    assert len(report.files) == 5
    assert "missing: 2 (pooler.dense.bias, pooler.dense.kernel)" in str(report)


def test_old_spellings_wrappers_and_buffers_give_the_same_parameters():
    new = AutoModel.from_pretrained(GOLDEN / "bert" / "masked_lm_sharded")
    old = AutoModel.from_pretrained(GOLDEN / "bert" / "old_spelling")

    assert old.load_report.buffers == ("module.bert.embeddings.position_ids",)
    assert set(old.load_report.loaded) == set(new.load_report.loaded)
    for a, b in zip(leaves(new.params), leaves(old.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_real_model_equals_the_reference_implementation(minilm):
    golden = np.load(GOLDEN / "minilm.npz")

    output = AutoModel.from_pretrained(minilm)(golden["ids"], attention_mask=golden["mask"])

    np.testing.assert_allclose(output.pooler_output, golden["pooled"], atol=2e-6)
    real = golden["mask"].astype(bool)
    np.testing.assert_allclose(np.asarray(output.last_hidden_state)[real], golden["hidden"][real], atol=1e-5)


def leaves(tree):
    import jax

    return jax.tree.leaves(tree)
