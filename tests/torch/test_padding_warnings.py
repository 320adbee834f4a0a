"""A warning of padding that nothing masks."""

from __future__ import annotations

import logging

import pytest
import torch
from tiny_models import IDS, made

from torch_heads import BertForMaskedLM, BertLMHeadModel, BertModel, GPTNeoForCausalLM, OPTForCausalLM


@pytest.mark.parametrize("ids", [[[5, 6, 0]], [[0, 5, 6]]])
def test_padding_without_a_mask_is_warned_of_once(caplog, ids):
    model = made(BertForMaskedLM)

    with caplog.at_level(logging.WARNING, "automodels"):
        for _ in range(3):
            model(torch.tensor(ids))

    assert caplog.text.count("padding is read as text") == 1
    assert "token 0" in caplog.text


@pytest.mark.parametrize(
    ("ids", "mask"), [([[5, 0, 6]], None), ([[5, 6, 0]], [[1, 1, 0]]), ([[5, 6, 0]], [[1, 1, 1]]), ([[5]], None)]
)
def test_nothing_is_said_where_a_mask_is_given_or_no_padding_is_seen(caplog, ids, mask):
    model = made(BertModel)

    with caplog.at_level(logging.WARNING, "automodels"):
        model(torch.tensor(ids), None if mask is None else torch.tensor(mask))

    assert caplog.text == ""


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_that_ended_while_others_are_generated_are_not_taken_for_padding(caplog, beams, use_cache):
    model = made(BertLMHeadModel, is_decoder=True)
    options = {"num_beams": beams, "use_cache": use_cache, "max_new_tokens": 8}

    with caplog.at_level(logging.WARNING, "automodels"):
        found = model.generate(IDS, stopping_criteria=[lambda ids, scores: ids[:, 1] == IDS[0, 1]], **options)

    assert found[0, 6:].tolist() == [0] * 7  # filled with padding
    assert found.shape == (2, 13)
    assert caplog.text == ""


@pytest.mark.parametrize("model_class", [OPTForCausalLM, GPTNeoForCausalLM])
def test_decoders_are_silent_about_padding_as_in_transformers(caplog, model_class):
    with caplog.at_level(logging.WARNING, "automodels"):
        made(model_class, pad_token_id=0)(torch.tensor([[0, 5, 6]]))

    assert caplog.text == ""


def test_each_model_warns_of_padding_for_itself(caplog):
    models = [made(BertModel), made(BertForMaskedLM)]

    with caplog.at_level(logging.WARNING, "automodels"):
        for model in [*models, *models]:
            model(torch.tensor([[5, 0]]))

    assert caplog.text.count("padding is read as text") == 2


def test_a_padding_token_that_means_something_else_too_is_said(caplog):
    model = made(BertModel, eos_token_id=0)

    with caplog.at_level(logging.WARNING, "automodels"):
        model(torch.tensor([[5, 0]]))

    assert "0 is also its eos token" in caplog.text
