"""A Flax file whose matrices lie the other way round than the key map says."""

from __future__ import annotations

import numpy as np
import pytest

from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointMismatchError
from flax_opt import FlaxOPTModel

SIZES = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 12}


@pytest.mark.parametrize("has_torchs", [True, False])
def test_the_error_names_the_weights_of_torch_that_lie_beside_it(tmp_path, has_torchs):
    FlaxOPTModel(FlaxOPTModel.config_class(**SIZES)).save_pretrained(tmp_path, safe_serialization=False)
    config = {"config.json": (tmp_path / "config.json").read_bytes()}
    tensors = {name: np.array(view.numpy().T, order="C") for name, view in Checkpoint.open(tmp_path).items()}
    save_tensors(tmp_path, tensors, format="msgpack", naming="flax", files=config)
    if has_torchs:
        (tmp_path / "pytorch_model.bin").write_bytes(b"not looked into")

    with pytest.raises(CheckpointMismatchError, match=r"fc1.kernel has shape \[12, 8\].*the other way round") as caught:
        FlaxOPTModel.from_pretrained(tmp_path)

    beside = "There is pytorch_model.bin, too" if has_torchs else "The repository may have torch's weights, too"
    assert caught.value.hints == (
        f"The file keeps matrices the other way round than the key map has them. {beside}: from_pt=True.",
    )  # fmt: skip
