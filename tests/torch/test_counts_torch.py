"""Counts of parameters, operations and bytes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import IDS, made

from automodels.errors import InputError
from torch_heads import BertForMaskedLM, BertModel

TABLES = (31 + 16 + 2) * 12


def test_parameters_are_counted_tied_ones_once():
    model = made(BertForMaskedLM)
    everything = sum(parameter.numel() for parameter in model.parameters())

    assert model.num_parameters() == everything
    assert model.num_parameters(exclude_embeddings=True) == everything - TABLES
    assert made(BertForMaskedLM, tie_word_embeddings=False).num_parameters() == everything + 31 * 12

    model.bert.requires_grad_(False)

    head = 12 * 12 + 12 + 2 * 12 + 31
    assert model.num_parameters(only_trainable=True) == head
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == head


def test_operations_are_six_for_each_token_and_parameter():
    model = made(BertModel)
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}

    assert model.estimate_tokens(inputs) == 10
    assert model.floating_point_ops(inputs) == 6 * 10 * model.num_parameters(exclude_embeddings=True)
    assert model.floating_point_ops(inputs, exclude_embeddings=False) == 60 * model.num_parameters()
    with pytest.raises(InputError, match="no input_ids"):
        model.estimate_tokens({"pixel_values": IDS})


def test_the_footprint_is_that_of_parameters_and_buffers():
    model = made(BertModel)
    model.register_buffer("seen", torch.zeros(10, dtype=torch.float64))

    assert model.get_memory_footprint() == 4 * model.num_parameters() + 80
    assert model.get_memory_footprint(return_buffers=False) == 4 * model.num_parameters()
    assert model.half().get_memory_footprint(return_buffers=False) == 2 * model.num_parameters()
