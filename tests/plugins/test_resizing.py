"""resize_token_embeddings, and the counts that depend on the vocabulary."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import CheckpointMismatchError, ConfigError, InputError
from flax_bert import BertConfig, FlaxBertForMaskedLM, FlaxBertModel
from flax_runtime.resizing import SPREAD, rows_like

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


def words(params):
    return params["bert"]["embeddings"]["word_embeddings"]["embedding"]


def predictions(params):
    return params["cls"]["predictions"]


def randomized(params, seed=0):
    """Another tree of the same form, in which biases are not all zero."""
    numbers = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(numbers.normal(size=leaf.shape, scale=0.1), leaf.dtype), params)


def masked_lm(**fields):
    model = FlaxBertForMaskedLM(BertConfig(**TINY, **fields), seed=2)
    model.params = randomized(model.params)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_growing_keeps_every_old_row_and_what_the_model_computes_of_old_tokens(tied):
    model = masked_lm(tie_word_embeddings=tied)
    before, old = model(IDS).logits, model.params

    params = model.resize_token_embeddings(40)

    assert params is model.params
    assert model.config.vocab_size == 40
    assert words(params).shape == (40, 12)
    assert predictions(params)["bias"].shape == (40,)
    assert ("decoder" in predictions(params)) is not tied
    np.testing.assert_array_equal(words(params)[:31], words(old))
    np.testing.assert_array_equal(predictions(params)["bias"][:31], predictions(old)["bias"])
    if not tied:
        np.testing.assert_array_equal(
            predictions(params)["decoder"]["kernel"][:, :31], predictions(old)["decoder"]["kernel"]
        )
    np.testing.assert_allclose(model(IDS).logits[..., :31], before, atol=1e-6)
    assert model([[39, 35]]).logits.shape == (1, 2, 40)
    assert model.params_shape_tree["cls"]["predictions"]["bias"].shape == (40,)


def test_new_rows_lie_about_the_mean_of_the_old_ones_and_differ():
    model = masked_lm(tie_word_embeddings=False)
    mean = words(model.params).mean(0)
    bias = predictions(model.params)["bias"].mean()
    kernel = predictions(model.params)["decoder"]["kernel"].mean(1)

    params = model.resize_token_embeddings(50)

    np.testing.assert_allclose(words(params)[31:], np.broadcast_to(mean, (19, 12)), atol=0.01)
    np.testing.assert_allclose(predictions(params)["bias"][31:], np.full(19, bias), atol=0.01)
    np.testing.assert_allclose(
        predictions(params)["decoder"]["kernel"][:, 31:].T, np.broadcast_to(kernel, (19, 12)), atol=0.01
    )
    assert len(np.unique(words(params)[31:], axis=0)) == 19
    assert np.isfinite(words(params)).all()


def test_new_rows_have_the_covariance_of_the_old_ones_made_small():
    numbers = np.random.default_rng(0)
    mixing = numbers.normal(size=(3, 3))
    old = jnp.asarray(numbers.normal(size=(500, 3)) @ mixing + 5, jnp.float32)

    new = rows_like(old, 20_000, jax.random.key(0))

    np.testing.assert_allclose(new.mean(0), old.mean(0), atol=1e-3)
    np.testing.assert_allclose(np.cov(new.T) / SPREAD, np.cov(old.T), rtol=0.1, atol=0.1)


def test_fewer_old_rows_than_columns_are_enough():
    new = rows_like(jnp.asarray([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), 5, jax.random.key(0))

    np.testing.assert_allclose(new, np.full((5, 3), 2.0), atol=0.05)
    assert np.isfinite(new).all()


def test_new_rows_can_be_those_of_a_new_model():
    model = masked_lm(tie_word_embeddings=False)
    new = FlaxBertForMaskedLM(BertConfig(**{**TINY, "vocab_size": 40}, tie_word_embeddings=False), seed=2).params

    params = model.resize_token_embeddings(40, mean_resizing=False)

    np.testing.assert_allclose(words(params)[31:], words(new)[31:], atol=1e-7)
    np.testing.assert_array_equal(predictions(params)["bias"][31:], np.zeros(9))


def test_shrinking_cuts_off_the_last_rows():
    model = masked_lm()
    before, old = model(IDS).logits, model.params

    params = model.resize_token_embeddings(20)

    np.testing.assert_array_equal(words(params), words(old)[:20])
    np.testing.assert_allclose(model(IDS).logits, before[..., :20], atol=1e-6)
    with pytest.raises(InputError, match="rows 0 to 19"):
        model([[20]])


def test_a_model_without_parameters_resizes_those_that_it_is_given():
    config = BertConfig(**TINY)
    model = FlaxBertForMaskedLM(config, _do_init=False)
    old = masked_lm().params

    params = model.resize_token_embeddings(40, params=old)

    assert words(params).shape == (40, 12)
    assert words(old).shape == (31, 12)
    assert model.config.vocab_size == 40
    assert config.vocab_size == 31
    assert model(IDS, params=params).logits.shape == (2, 5, 40)
    with pytest.raises(InputError, match="_do_init=False"):
        _ = model.params


def test_parameters_keep_their_type():
    model = masked_lm()

    params = model.resize_token_embeddings(40, params=model.to_bf16(model.params))

    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    assert params is model.params


def test_without_a_size_nothing_changes():
    model = masked_lm()
    old = model.params

    params = model.resize_token_embeddings()

    assert params is old
    assert model.config.vocab_size == 31


class Undeclared(FlaxBertForMaskedLM):
    vocabulary: ClassVar = {"embeddings.word_embeddings.embedding": 0}


@pytest.mark.parametrize(
    ("size", "options", "error", "said"),
    [
        (0, {}, InputError, "new_num_tokens is 0"),
        (-3, {}, InputError, "new_num_tokens is -3"),
        (1.5, {}, InputError, "new_num_tokens is 1.5"),
        (True, {}, InputError, "new_num_tokens is True"),
        (5, {}, ConfigError, "pad_token_id 7"),
        (40, {"params": {"cls": 1.0}}, CheckpointMismatchError, "missing: bert.embeddings"),
    ],
)
def test_a_refused_size_leaves_the_model_as_it_was(size, options, error, said):
    model = masked_lm(pad_token_id=7)
    before, old = model(IDS).logits, model.params

    with pytest.raises(error, match=said):
        model.resize_token_embeddings(size, **options)

    assert model.config.vocab_size == 31
    assert model.params is old
    np.testing.assert_array_equal(model(IDS).logits, before)


def test_a_class_that_forgot_a_parameter_is_told_and_stays_as_it_was():
    model = Undeclared(BertConfig(**TINY))

    with pytest.raises(InputError, match=r"does not declare where its vocabulary is: cls.predictions.bias"):
        model.resize_token_embeddings(40)

    assert model(IDS).logits.shape == (2, 5, 31)


def test_a_resized_model_is_saved_and_loaded(tmp_path):
    model = masked_lm()
    model.resize_token_embeddings(40)

    model.save_pretrained(tmp_path)

    loaded = FlaxBertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert loaded.config.vocab_size == 40
    jax.tree.map(np.testing.assert_array_equal, loaded.params, model.params)


def test_parameters_are_counted_with_and_without_tables_of_embeddings():
    model = FlaxBertModel(BertConfig(**TINY))

    tables = (31 + 16 + 2) * 12
    assert model.num_parameters() - model.num_parameters(exclude_embeddings=True) == tables
    assert model.num_parameters() == sum(leaf.size for leaf in jax.tree.leaves(model.params))


def test_the_footprint_is_that_of_the_parameters_as_they_are():
    model = FlaxBertModel(BertConfig(**TINY))
    single = model.get_memory_footprint()

    model.params = model.to_bf16(model.params)

    assert single == sum(leaf.nbytes for leaf in jax.tree.leaves(model.params)) * 2
    assert model.get_memory_footprint() * 2 == single
