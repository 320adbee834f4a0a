"""Wrappers, taken off a model."""

from __future__ import annotations

import pytest
import torch
from tiny_models import made
from torch import nn

from torch_heads import BertModel
from torch_runtime.unwrapping import unwrap_model


def test_wrappers_are_taken_off():
    model = made(BertModel)

    assert unwrap_model(model) is model
    assert unwrap_model(nn.DataParallel(model)) is model
    assert unwrap_model(torch.compile(nn.DataParallel(model), backend="eager")) is model
    whole = nn.Sequential(nn.DataParallel(model), torch.compile(nn.Linear(2, 2), backend="eager"))
    linear = whole[1]._orig_mod
    assert unwrap_model(whole) is whole
    assert isinstance(whole[0], nn.DataParallel)
    unwrap_model(whole, recursive=True)
    assert list(whole) == [model, linear]


def test_a_model_that_is_distributed_is_unwrapped():
    import torch.distributed as distributed

    if not distributed.is_available():
        pytest.skip("torch was built without distribution")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Linear(2, 2)
        assert unwrap_model(nn.parallel.DistributedDataParallel(model)) is model
    finally:
        distributed.destroy_process_group()
