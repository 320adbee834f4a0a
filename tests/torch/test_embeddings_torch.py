"""Embeddings at both ends of a model: found, replaced, tied, and resized."""

from __future__ import annotations

import pytest
import torch
from tiny_models import IDS, assert_unchanged, copied, made
from torch import nn

from automodels.errors import ConfigError, InputError
from torch_heads import BertForMaskedLM, BertForSequenceClassification, BertModel, GPTNeoForCausalLM, OPTForCausalLM
from torch_runtime.resizing import SPREAD, rows_like

LANGUAGE_MODELS = [BertForMaskedLM, OPTForCausalLM, GPTNeoForCausalLM]


@pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
def test_both_ends_are_found_and_are_one_where_the_config_ties_them(model_class):
    model, untied = made(model_class), made(model_class, tie_word_embeddings=False)

    assert model.get_input_embeddings().weight.shape == (31, 12)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert untied.get_output_embeddings().weight is not untied.get_input_embeddings().weight
    assert model.base_model.get_input_embeddings() is model.get_input_embeddings()
    assert model.base_model.get_output_embeddings() is None


def test_a_model_that_predicts_no_tokens_has_no_output_embeddings():
    model = made(BertForSequenceClassification)

    assert model.get_output_embeddings() is None
    with pytest.raises(InputError, match="no output embeddings"):
        model.set_output_embeddings(nn.Linear(12, 31))


@pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
def test_a_new_table_is_used_and_tied_again_when_asked(model_class):
    model = made(model_class)
    table = nn.Embedding(31, 12)

    model.set_input_embeddings(table)

    assert model.get_output_embeddings().weight is not table.weight

    model.tie_weights()

    assert model.get_input_embeddings() is table
    assert model.get_output_embeddings().weight is table.weight
    states = model.base_model.get_input_embeddings()(IDS)
    assert torch.equal(states, table(IDS))


def test_tying_to_a_longer_table_makes_the_head_and_its_bias_as_long():
    model = made(BertForMaskedLM)
    bias = model.cls.predictions.bias.detach().clone()
    model.set_input_embeddings(nn.Embedding(40, 12))

    model.tie_weights()

    assert model(IDS).logits.shape == (2, 5, 40)
    assert model.cls.predictions.bias is model.cls.predictions.decoder.bias
    assert torch.equal(model.cls.predictions.bias, torch.cat([bias, torch.zeros(9)]))


def test_a_table_of_another_width_is_not_tied():
    model = made(BertForMaskedLM)
    model.set_input_embeddings(nn.Embedding(31, 5))

    with pytest.raises(InputError, match=r"rows of \[5\]; cls.predictions.decoder.weight"):
        model.tie_weights()

    assert model.get_output_embeddings().weight.shape == (31, 12)


@pytest.mark.parametrize("model_class", LANGUAGE_MODELS)
@pytest.mark.parametrize("tied", [True, False])
def test_growing_keeps_every_old_row_and_what_the_model_computes_of_old_tokens(model_class, tied):
    model = made(model_class, tie_word_embeddings=tied)
    with torch.no_grad():
        before, old = model(IDS).logits, copied(model)

    table = model.resize_token_embeddings(40)

    assert table is model.get_input_embeddings()
    assert (table.num_embeddings, table.weight.shape) == (40, (40, 12))
    assert model.config.vocab_size == model.base_model.config.vocab_size == 40
    assert model.get_output_embeddings().out_features == 40
    assert (model.get_output_embeddings().weight is table.weight) is tied
    now = dict(model.named_parameters())
    assert list(now) == list(old)
    for name, tensor in old.items():
        assert torch.equal(now[name][: len(tensor)], tensor)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits[..., :31], before, atol=1e-5, rtol=1e-5)
        assert model(torch.tensor([[39, 35]])).logits.shape == (1, 2, 40)


def test_new_rows_lie_about_the_mean_of_the_old_ones_and_differ():
    model = made(BertForMaskedLM, tie_word_embeddings=False)
    old = copied(model)

    model.resize_token_embeddings(50)

    for name, parameter in model.named_parameters():
        if parameter.shape != old[name].shape:
            mean = old[name].mean(0).expand(19, *parameter.shape[1:])
            torch.testing.assert_close(parameter[31:].detach(), mean, atol=0.01, rtol=0)
    assert len(model.get_input_embeddings().weight[31:].detach().unique(dim=0)) == 19


def test_new_rows_have_the_covariance_of_the_old_ones_made_small():
    old = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64) + 5

    new = rows_like(old.float(), 20_000).double()

    torch.testing.assert_close(new.mean(0), old.mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(new.T.cov() / SPREAD, old.T.cov(), rtol=0.1, atol=0.1)


def test_fewer_old_rows_than_columns_are_enough():
    new = rows_like(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), 5)

    torch.testing.assert_close(new, torch.full((5, 3), 2.0), atol=0.05, rtol=0)


def test_new_rows_can_be_those_of_a_new_model():
    model = made(BertForMaskedLM, initializer_range=0.5)
    mean = model.get_input_embeddings().weight.mean(0)

    model.resize_token_embeddings(2000, mean_resizing=False)

    new = model.get_input_embeddings().weight[31:].detach()
    assert abs(new.std().item() - 0.5) < 0.02
    assert abs(new.mean().item()) < 0.02 < mean.abs().max().item()
    assert torch.equal(model.cls.predictions.bias[31:], torch.zeros(1969))


def test_shrinking_cuts_off_the_last_rows():
    model = made(BertForMaskedLM)
    before = model(IDS).logits.detach()

    model.resize_token_embeddings(20)

    torch.testing.assert_close(model(IDS).logits.detach(), before[..., :20], atol=1e-6, rtol=1e-6)
    with pytest.raises(InputError, match="rows 0 to 19"):
        model(torch.tensor([[20]]))


@pytest.mark.parametrize(("size", "multiple", "expected"), [(33, 8, 40), (None, 16, 32), (40, 8, 40), (None, 31, 31)])
def test_sizes_are_rounded_up_to_a_multiple(size, multiple, expected):
    model = made(BertForMaskedLM)

    table = model.resize_token_embeddings(size, pad_to_multiple_of=multiple)

    assert table.num_embeddings == model.config.vocab_size == expected
    assert model(IDS).logits.shape[-1] == expected


def test_types_and_frozen_parameters_stay_what_they_are():
    model = made(BertModel).bfloat16()
    model.get_input_embeddings().weight.requires_grad_(False)

    table = model.resize_token_embeddings(40)

    assert table.weight.dtype == torch.bfloat16
    assert not table.weight.requires_grad


def test_without_a_size_nothing_changes():
    model = made(BertForMaskedLM)
    table = model.get_input_embeddings().weight

    assert model.resize_token_embeddings().weight is table
    assert model.resize_token_embeddings(31).weight is table


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"new_num_tokens": 0}, InputError, "new_num_tokens is 0"),
        ({"new_num_tokens": -3}, InputError, "new_num_tokens is -3"),
        ({"new_num_tokens": 1.5}, InputError, "new_num_tokens is 1.5"),
        ({"new_num_tokens": True}, InputError, "new_num_tokens is True"),
        ({"new_num_tokens": 40, "pad_to_multiple_of": 0}, InputError, "pad_to_multiple_of is 0"),
        ({"new_num_tokens": 5}, ConfigError, "pad_token_id 7"),
    ],
)
def test_a_refused_size_leaves_the_model_as_it_was(arguments, error, said):
    model = made(BertForMaskedLM, pad_token_id=7)
    before, config = copied(model), model.config.to_json_string()

    with pytest.raises(error, match=said):
        model.resize_token_embeddings(**arguments)

    assert_unchanged(model, before, config)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_model_without_a_pooler_is_resized_too():
    model = made(BertModel, add_pooling_layer=False)

    model.resize_token_embeddings(40)

    assert model(torch.tensor([[39]])).last_hidden_state.shape == (1, 1, 12)


@pytest.mark.parametrize("tied", [True, False])
def test_a_resized_model_is_saved_and_loaded(tmp_path, tied):
    model = made(BertForMaskedLM, tie_word_embeddings=tied)
    model.resize_token_embeddings(40)
    model.save_pretrained(tmp_path / "new")

    loaded = BertForMaskedLM.from_pretrained(tmp_path / "new", strict=True)

    assert loaded.config.vocab_size == 40
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_a_model_on_disk_is_not_resized(tmp_path):
    pytest.importorskip("accelerate")
    made(BertModel).save_pretrained(tmp_path / "model")
    model = BertModel.from_pretrained(
        tmp_path / "model", device_map={"": "cpu", "embeddings": "disk"}, offload_folder=tmp_path / "far"
    )

    with pytest.raises(InputError, match=r"cannot be resized: embeddings.word_embeddings.weight"):
        model.resize_token_embeddings(40)

    assert model.config.vocab_size == 31
