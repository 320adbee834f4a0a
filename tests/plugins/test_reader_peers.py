"""Our readers against the libraries that write these formats: what they wrote, we read bit by bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import serialization, traverse_util
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automodels.checkpoint.msgpack import read_msgpack
from automodels.checkpoint.reader import Checkpoint
from flax_bert.modeling import FlaxBertModel

GOLDEN = Path(__file__).parent.parent / "golden" / "bert"
TYPES = [
    np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2,
    np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint32, np.bool_, np.complex64, np.complex128,
]  # fmt: skip

keys = st.text("abcXYZ_019", min_size=1, max_size=8)
arrays = st.builds(
    lambda dtype, shape, start: (np.arange(start, start + int(np.prod(shape))) % 2).astype(dtype).reshape(shape),
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 4), max_size=3),
    st.integers(0, 9),
)
trees = st.recursive(
    st.dictionaries(keys, arrays, max_size=4), lambda below: st.dictionaries(keys, below, max_size=3), max_leaves=12
)


def agrees(path: Path, tree: Any) -> None:
    expected = traverse_util.flatten_dict(tree, sep=".")
    tensors = read_msgpack(path).tensors
    assert set(tensors) == set(expected)
    for name, view in tensors.items():
        array = np.asarray(expected[name])
        assert (view.dtype, view.shape) == (array.dtype, array.shape)
        assert view.numpy().tobytes() == array.tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flax_model.msgpack"


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_any_tree_that_flax_writes_is_read(path, tree):
    tree = {"tree": tree}  # a key `params` at the top is taken off
    path.unlink(missing_ok=True)
    path.write_bytes(serialization.msgpack_serialize(tree))

    agrees(path, tree)


@pytest.mark.parametrize("limit", [8, 64, 100, 1 << 20])
def test_arrays_that_flax_cuts_into_chunks_are_read(path, monkeypatch, limit):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", limit)
    tree = {"a": {"b": np.arange(60, dtype=np.float32).reshape(3, 4, 5)}, "c": np.ones((7, 9), ml_dtypes.bfloat16)}

    path.write_bytes(serialization.msgpack_serialize(tree))

    agrees(path, tree)


def test_a_training_state_gives_its_parameters_and_notes_the_rest(path):
    params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3, jnp.bfloat16)}}
    state = {"params": params, "step": 7, "scale": np.float32(0.5), "nothing": None, "z": 1 + 2j}

    path.write_bytes(serialization.to_bytes(state))
    contents = read_msgpack(path)

    assert set(contents.tensors) == {"dense.kernel", "dense.bias", "scale"}
    assert sorted(contents.ignored) == ["nothing", "step", "z"]
    assert contents.tensors["scale"].shape == ()


@pytest.mark.parametrize("above", [(), ("params",), ("bert",)])
def test_a_bert_that_flax_saved_is_loaded_by_the_paths_of_its_parameters(tmp_path, above):
    model = FlaxBertModel.from_pretrained(GOLDEN / "deep")
    tree = jax.tree.map(np.asarray, model.params)
    for key in above:
        tree = {key: tree}
    shutil.copy(GOLDEN / "deep" / "config.json", tmp_path)
    (tmp_path / "flax_model.msgpack").write_bytes(serialization.to_bytes(tree))

    loaded = FlaxBertModel.from_pretrained(tmp_path)

    assert (loaded.load_report.missing, loaded.load_report.unexpected) == ((), ())
    jax.tree.map(lambda new, old: np.testing.assert_array_equal(new, old, strict=True), loaded.params, model.params)


def test_an_array_that_safetensors_wrote_for_flax_is_read(tmp_path):
    library = pytest.importorskip("safetensors.flax")
    tree = {"a.kernel": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16)}
    library.save_file(tree, str(tmp_path / "model.safetensors"), metadata={"format": "flax"})

    checkpoint = Checkpoint.open(tmp_path)

    assert (checkpoint.naming, checkpoint.format) == ("flax", "safetensors")
    assert all(checkpoint[name].numpy().tobytes() == np.asarray(array).tobytes() for name, array in tree.items())
