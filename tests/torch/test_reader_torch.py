"""Our reader of torch's zip files against torch itself."""

from __future__ import annotations

import numpy as np
import pytest

from automodels.checkpoint.dtypes import BY_NUMPY_NAME
from automodels.checkpoint.torchzip import read_torch

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16", "int64", "uint8", "bool", "float8_e5m2"])
def test_what_torch_saves_is_read_bit_by_bit(tmp_path, name):
    whole = torch.arange(24).reshape(2, 3, 4).remainder(2).to(getattr(torch, name))
    saved = {"whole": whole, "turned": whole.permute(2, 0, 1), "part": whole[:, 1:, ::2], "empty": whole[:0]}
    torch.save(saved, tmp_path / "x.bin")

    tensors = read_torch(tmp_path / "x.bin").tensors

    assert list(tensors) == list(saved)
    for key, tensor in saved.items():
        expected = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert tensors[key].dtype == BY_NUMPY_NAME[name]
        assert tensors[key].shape == tuple(tensor.shape)
        assert np.ascontiguousarray(tensors[key].numpy()).tobytes() == expected


def test_the_state_of_a_network_and_of_its_optimizer_is_read(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.Embedding(4, 5))
    optimizer = torch.optim.AdamW(network.parameters())
    torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}, tmp_path / "x.bin")

    contents = read_torch(tmp_path / "x.bin")

    assert list(contents.tensors) == list(network.state_dict())
    assert contents.ignored == ("optimizer", "step")
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(contents.tensors[name].numpy(), tensor.numpy(), strict=True)
