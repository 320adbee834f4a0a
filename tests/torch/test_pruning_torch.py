"""Heads taken out of a model, and models that lack some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import IDS, assert_unchanged, copied, made

from automodels.errors import InputError
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertLMHeadModel, BertModel, OPTForCausalLM

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {
    "base": (BertModel, "bert_tasks/base_odd"),
    "sequence": (BertForSequenceClassification, "bert_tasks/sequence_odd"),
    "causal_lm_cross": (BertLMHeadModel, "bert_tasks/causal_lm_cross_odd"),
}


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_a_model_without_heads_computes_what_one_with_those_heads_masked_does(backend):
    model = made(BertModel, backend=backend)
    mask = torch.tensor([[0.0, 1, 1], [1, 0, 0]])
    expected = model(IDS, head_mask=mask).last_hidden_state

    model.prune_heads({0: [0], 1: {2, 1}})

    assert model.encoder.layer[0].attention.self.query.weight.shape == (8, 12)
    assert model.encoder.layer[1].attention.output.dense.weight.shape == (12, 4)
    assert model.encoder.layer[1].attention.self.value.out_features == 4
    assert model.config.pruned_heads == {0: [0], 1: [1, 2]}
    torch.testing.assert_close(model(IDS).last_hidden_state, expected, atol=1e-6, rtol=1e-6)


def test_a_head_keeps_its_number_when_others_are_gone():
    once, twice = made(BertModel), made(BertModel)
    once.prune_heads({0: [0, 2]})

    twice.prune_heads({0: [0]})
    twice.prune_heads({0: [2]})
    twice.prune_heads({0: [0, 2]})

    assert twice.config.pruned_heads == {0: [0, 2]}
    assert torch.equal(once(IDS).last_hidden_state, twice(IDS).last_hidden_state)


def test_masks_of_heads_name_them_by_their_old_numbers():
    model = made(BertModel)
    expected = model(IDS, head_mask=torch.tensor([0.0, 0.5, 1])).last_hidden_state

    model.prune_heads({0: [0], 1: [0]})

    pruned = model(IDS, head_mask=torch.tensor([7.0, 0.5, 1])).last_hidden_state
    torch.testing.assert_close(pruned, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("model_class", [BertModel, BertForMaskedLM, BertForSequenceClassification])
def test_a_pruned_model_is_saved_and_loaded(tmp_path, model_class):
    model = made(model_class)
    model.prune_heads({0: [1], 1: [0, 2]})
    model.save_pretrained(tmp_path / "pruned")

    loaded = model_class.from_pretrained(tmp_path / "pruned", strict=True)

    assert loaded.config.pruned_heads == {0: [1], 1: [0, 2]}
    assert torch.equal(loaded(IDS)[0], model(IDS)[0])

    loaded.prune_heads({0: [0]})
    model.prune_heads({0: [0]})

    assert torch.equal(loaded(IDS)[0], model(IDS)[0])


def test_attention_to_an_encoder_keeps_its_heads(tmp_path):
    model = made(BertLMHeadModel, is_decoder=True, add_cross_attention=True)
    states = torch.randn(2, 4, 12)
    model.prune_heads({0: [1]})
    model.save_pretrained(tmp_path / "pruned")

    loaded = BertLMHeadModel.from_pretrained(tmp_path / "pruned", strict=True)

    assert loaded.bert.encoder.layer[0].crossattention.self.query.out_features == 12
    given = {"encoder_hidden_states": states, "head_mask": torch.tensor([0.5, 1, 1])}
    assert torch.equal(loaded(IDS, **given).logits, model(IDS, **given).logits)


def test_a_pruned_model_is_trained():
    model = made(BertModel)
    model.prune_heads({0: [1]})

    model(IDS).last_hidden_state.sum().backward()

    assert model.encoder.layer[0].attention.self.key.weight.grad.shape == (8, 12)


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ({0: [3]}, r"heads_to_prune\[0\] names head 3; the layer has heads 0 to 2"),
        ({0: [-1]}, "names head -1"),
        ({1: [0], 2: [0]}, "names layer 2; the model has layers 0 to 1"),
        ({1: [0], 0: [0, 1, 2]}, "No head of layer 0 would remain"),
        ({"0": [1]}, "not a whole number"),
        ({0: "1"}, "not a list of heads"),
        ({0: 1}, "not a list of heads"),
        ([0], "no mapping"),
    ],
)
def test_heads_that_do_not_exist_and_all_heads_are_refused_and_nothing_changes(heads, said):
    model = made(BertForMaskedLM)
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(InputError, match=said):
        model.prune_heads(heads)

    assert_unchanged(model, before, config)


def test_the_last_heads_of_a_pruned_layer_cannot_go_either():
    model = made(BertModel)
    model.prune_heads({0: [0, 1]})
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(InputError, match="No head of layer 0 would remain"):
        model.prune_heads({1: [0], 0: [2]})

    assert_unchanged(model, before, config)


def test_a_family_that_cannot_be_pruned_says_so():
    with pytest.raises(InputError, match="OPTForCausalLM does not say where its heads are"):
        made(OPTForCausalLM).prune_heads({0: [0]})


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_pruned_models_compute_what_transformers_4_computes(case, backend):
    """See tests/golden/make_torch_pruned.py."""
    model_class, base = CASES[case]
    with np.load(GOLDEN / "torch_pruned" / case / "golden.npz") as data:
        golden = {name: torch.from_numpy(array) for name, array in data.items()}
    given = {name: golden[name] for name in golden if name.startswith("encoder")}
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    pruned = model_class.from_pretrained(GOLDEN / base, backend=backend)
    pruned.prune_heads({0: [0, 3], 1: [2]})
    loaded = model_class.from_pretrained(GOLDEN / "torch_pruned" / case, backend=backend, strict=True)

    for model in (pruned, loaded):
        with torch.no_grad():
            plain = model(IDS, attention_mask=mask, **given)
            shown = model(IDS, attention_mask=mask, output_attentions=True, **given)
        real = mask.bool() if plain[0].dim() == 3 else slice(None)
        torch.testing.assert_close(plain[0][real], golden["first"][real], atol=1e-5, rtol=1e-5)
        assert shown.attentions[0].shape == (2, 3, 5, 5)
        torch.testing.assert_close(shown.attentions[0][:, :, :3], golden["attention"][:, :, :3], atol=1e-5, rtol=1e-5)
