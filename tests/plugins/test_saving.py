"""Saving Flax models: round trips bit for bit, through every format and name, and what other programs read."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import automodels
from automodels import AutoModel, AutoModelForSentenceEmbedding
from automodels.checkpoint.reader import Checkpoint
from automodels.errors import CheckpointMismatchError, CheckpointWriteError, InputError
from flax_bert import BertConfig, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=11, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
FORMATS = [
    {},
    {"max_shard_size": 3000},
    {"naming": "flax"},
    {"naming": "flax", "max_shard_size": "4KB"},
    {"safe_serialization": False},
    {"safe_serialization": False, "max_shard_size": 5000},
]


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY), seed=3)


def same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("options", FORMATS, ids=str)
def test_what_is_saved_loads_bit_for_bit(model, tmp_path, options):
    report = model.save_pretrained(tmp_path, **options)

    loaded = AutoModel.from_pretrained(tmp_path, strict=True)

    same(loaded.params, model.params)
    assert loaded.config.hidden_size == 12
    assert report.tensors == len(model.required_params)
    assert ("index" in str(report.files)) == ("max_shard_size" in options)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("options", [{}, {"naming": "flax"}, {"safe_serialization": False}], ids=str)
def test_types_are_kept(tmp_path, dtype, options):
    model = FlaxBertModel(BertConfig(**{**TINY, "num_hidden_layers": 1}), param_dtype=dtype)

    model.save_pretrained(tmp_path, **options)

    same(AutoModel.from_pretrained(tmp_path, param_dtype=dtype).params, model.params)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype


def test_one_save_replaces_the_other_whatever_their_formats(model, tmp_path):
    for seed, options in enumerate(FORMATS):
        other = FlaxBertModel(BertConfig(**TINY), seed=seed)

        other.save_pretrained(tmp_path, **options)

        same(AutoModel.from_pretrained(tmp_path).params, other.params)


def test_the_hubs_names_are_the_default(model, tmp_path):
    model.save_pretrained(tmp_path)

    checkpoint = Checkpoint.open(tmp_path)

    assert "encoder.layer.10.attention.self.query.weight" in checkpoint
    assert checkpoint["encoder.layer.0.intermediate.dense.weight"].shape == (20, 12)
    assert checkpoint.metadata["format"] == "pt"
    assert checkpoint.metadata["automodels_plugin"] == "flax-bert"


def test_other_parameters_can_be_saved_than_the_models_own(model, tmp_path):
    doubled = jax.tree.map(lambda leaf: leaf * 2, model.params)

    model.save_pretrained(tmp_path, params=doubled)

    same(AutoModel.from_pretrained(tmp_path).params, doubled)
    with pytest.raises(CheckpointMismatchError, match="missing: pooler"):
        model.save_pretrained(tmp_path, params={key: value for key, value in model.params.items() if key != "pooler"})
    same(AutoModel.from_pretrained(tmp_path).params, doubled)


def test_a_saved_checkpoint_records_where_it_comes_from_and_is_loaded_by_that(model, tmp_path):
    model.save_pretrained(tmp_path)

    recorded = json.loads((tmp_path / "config.json").read_text())

    assert recorded["automodels"]["plugin"] == "flax-bert"
    assert recorded["automodels"]["distribution"] == "flax-bert"
    assert recorded["automodels"]["plugin_version"] == automodels.__version__
    assert recorded["architectures"] == ["BertModel"]


def test_variants_lie_side_by_side(model, tmp_path):
    other = FlaxBertModel(BertConfig(**TINY), seed=9)
    model.save_pretrained(tmp_path)

    other.save_pretrained(tmp_path, variant="fp16", max_shard_size=4000)

    same(AutoModel.from_pretrained(tmp_path).params, model.params)
    same(AutoModel.from_pretrained(tmp_path, variant="fp16").params, other.params)


def test_formats_can_be_asked_for(model, tmp_path):
    model.save_pretrained(tmp_path, safe_serialization=False)

    same(AutoModel.from_pretrained(tmp_path, from_flax=True).params, model.params)
    with pytest.raises(InputError, match="from_pt"):
        AutoModel.from_pretrained(tmp_path, from_flax=True, from_pt=True)


def test_files_in_the_layout_of_the_tree_are_used_in_place(model, tmp_path):
    """On a CPU: the array lies where the file is mapped, so nothing was copied; it outlives the file."""
    wide = FlaxBertModel(BertConfig(**{**TINY, "hidden_size": 48, "num_hidden_layers": 1}))
    wide.save_pretrained(tmp_path, naming="flax")
    checkpoint = Checkpoint.open(tmp_path)

    loaded = AutoModel.from_pretrained(tmp_path)

    kernels = [leaf for leaf in jax.tree.leaves(loaded.params) if leaf.ndim == 2]
    mapped = checkpoint["pooler.dense.kernel"].numpy()
    assert mapped.ctypes.data % 64 == 0
    assert all(leaf.unsafe_buffer_pointer() % 64 == 0 for leaf in kernels)
    before = jax.tree.map(np.array, loaded.params)
    FlaxBertModel(BertConfig(**TINY)).save_pretrained(tmp_path, naming="flax")
    same(loaded.params, before)
    assert copied_bytes(loaded) == 0


def copied_bytes(model):
    """Bytes of parameters that do not lie in a mapping of a file."""
    with open("/proc/self/maps") as maps:
        rows = [line.split() for line in maps]
    mapped = [
        tuple(int(end, 16) for end in row[0].split("-")) for row in rows if len(row) > 5 and "safetensors" in row[5]
    ]
    leaves = jax.tree.leaves(model.params)
    inside = [any(low <= leaf.unsafe_buffer_pointer() < high for low, high in mapped) for leaf in leaves]
    return sum(leaf.nbytes for leaf, is_mapped in zip(leaves, inside, strict=True) if not is_mapped)


def test_only_the_main_process_writes(model, tmp_path):
    assert model.save_pretrained(tmp_path / "new", is_main_process=False) is None
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_shard_size": "5XB"}, "is no size"),
        ({"max_shard_size": 0}, "A shard of 0 holds nothing"),
        ({"naming": "torch"}, "naming"),
        ({"variant": "../x"}, "variant"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(model, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        model.save_pretrained(tmp_path / "new", **options)

    assert not (tmp_path / "new").exists()


def test_a_file_is_no_place_for_a_checkpoint(model, tmp_path):
    (tmp_path / "file").write_text("here already")

    with pytest.raises((CheckpointWriteError, InputError)):
        model.save_pretrained(tmp_path / "file")

    assert (tmp_path / "file").read_text() == "here already"


def test_a_sentence_embedding_model_is_saved_with_its_folder(minilm, tmp_path):
    model = AutoModelForSentenceEmbedding.from_pretrained(minilm)

    model.save_pretrained(tmp_path, max_shard_size="30MB")
    loaded = AutoModelForSentenceEmbedding.from_pretrained(tmp_path)

    np.testing.assert_array_equal(loaded.encode(["A man is eating food."]), model.encode(["A man is eating food."]))
    assert loaded.settings == model.settings


def test_gradients_flow_through_parameters_that_lie_in_a_file(tmp_path):
    model = FlaxBertModel(BertConfig(**{**TINY, "num_hidden_layers": 1}))
    model.save_pretrained(tmp_path, naming="flax")
    loaded = AutoModel.from_pretrained(tmp_path)
    ids = jnp.asarray([[1, 2, 3]])

    step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - g, p, jax.grad(lambda q: loaded(ids, params=q)[0].var())(p)))

    assert not np.array_equal(jax.tree.leaves(step(loaded.params))[5], jax.tree.leaves(loaded.params)[5])
    same(AutoModel.from_pretrained(tmp_path).params, model.params)
