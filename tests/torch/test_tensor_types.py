"""Types and devices of modules and of their states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automodels.errors import InputError
from torch_runtime.tensors import (
    get_parameter_device,
    get_parameter_dtype,
    get_state_dict_dtype,
    get_state_dict_float_dtype,
)


def test_types_are_those_of_the_first_floating_tensor():
    whole, half = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.float16)
    module = nn.Module()
    module.register_buffer("ids", whole)

    assert get_parameter_dtype(module) == torch.int64
    module.register_buffer("numbers", half)
    assert get_parameter_dtype(module) == torch.float16
    assert get_parameter_dtype(nn.Module()) == torch.get_default_dtype()
    assert get_parameter_device(module) == torch.device("cpu")
    assert get_parameter_device(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert get_state_dict_dtype({"a": whole, "b": half}) == torch.float16
    assert get_state_dict_dtype({"a": whole}) == torch.int64
    assert get_state_dict_float_dtype({"a": whole, "b": half}) == torch.float16
    with pytest.raises(InputError, match="no floating-point tensor"):
        get_state_dict_float_dtype({"a": whole})
