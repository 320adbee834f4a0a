"""to_bf16, to_fp16 and to_fp32: new trees, never the old one changed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels import AutoModel
from automodels.errors import InputError
from flax_bert import BertConfig, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY))


@pytest.mark.parametrize(("method", "dtype"), [("to_bf16", "bfloat16"), ("to_fp16", "float16"), ("to_fp32", "float32")])
def test_all_floating_leaves_are_cast_into_a_new_tree(model, method, dtype):
    before = jax.tree.map(np.array, model.params)

    cast = getattr(model, method)(model.params)

    assert {str(leaf.dtype) for leaf in jax.tree.leaves(cast)} == {dtype}
    assert jax.tree.structure(cast) == jax.tree.structure(model.params)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(model.params)} == {"float32"}
    jax.tree.map(np.testing.assert_array_equal, model.params, before)


def test_a_mask_selects_leaves(model):
    mask = jax.tree.map(lambda _: True, model.params)
    mask["embeddings"]["LayerNorm"] = {"scale": False, "bias": np.False_}

    cast = model.to_bf16(model.params, mask)

    norm = cast["embeddings"].pop("LayerNorm")
    assert norm["scale"] is model.params["embeddings"]["LayerNorm"]["scale"]
    assert norm["bias"] is model.params["embeddings"]["LayerNorm"]["bias"]
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(cast)} == {"bfloat16"}


def test_a_mask_that_selects_nothing_changes_nothing(model):
    cast = model.to_fp16(model.params, jax.tree.map(lambda _: False, model.params))

    assert all(a is b for a, b in zip(jax.tree.leaves(cast), jax.tree.leaves(model.params), strict=True))


def test_a_mask_of_another_form_is_refused_with_the_paths(model):
    mask = jax.tree.map(lambda _: True, model.params)
    del mask["pooler"]["dense"]["bias"]
    mask["cls"] = True

    with pytest.raises(InputError, match=r"another form than the parameters: cls, pooler.dense.bias"):
        model.to_bf16(model.params, mask)


@pytest.mark.parametrize("chosen", [1, "yes", None, np.ones(12, bool), 0.5])
def test_a_mask_holds_nothing_but_booleans(model, chosen):
    mask = jax.tree.map(lambda _: True, model.params)
    mask["pooler"]["dense"]["bias"] = chosen

    with pytest.raises(InputError, match=r"True or False for each parameter; pooler.dense.bias has neither"):
        model.to_bf16(model.params, mask)


def test_whole_numbers_are_left_alone(model):
    tree = {"step": jnp.int32(3), "flag": np.bool_(True), "weight": np.ones(2, np.float64)}

    cast = model.to_bf16(tree)

    assert cast["step"] is tree["step"]
    assert cast["flag"] is tree["flag"]
    assert cast["weight"].dtype == jnp.bfloat16


def test_cast_parameters_compute_in_the_models_own_type(model):
    half = model.to_bf16(model.params)

    output = model(IDS, params=half).last_hidden_state

    assert output.dtype == jnp.float32
    np.testing.assert_allclose(output, model(IDS).last_hidden_state, atol=0.05)


def test_casting_can_be_compiled(model):
    shapes = jax.eval_shape(model.to_bf16, model.params)

    assert {str(leaf.dtype) for leaf in jax.tree.leaves(shapes)} == {"bfloat16"}


def test_a_model_saved_with_cast_parameters_says_their_type(model, tmp_path):
    model.save_pretrained(tmp_path, params=model.to_bf16(model.params))

    loaded = AutoModel.from_pretrained(tmp_path, param_dtype="bfloat16")

    assert loaded.config.dtype == "bfloat16"
    assert loaded.load_report.cast == ()
    assert model.to_bf16(model.params)["pooler"]["dense"]["kernel"].nbytes == 12 * 12 * 2
