"""Models without parameters of their own: `_do_init=False`, and `init_weights`, which draws what is missing."""

from __future__ import annotations

import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

from automodels import AutoModel, AutoModelForSentenceEmbedding, AutoModelForSequenceClassification
from automodels.errors import CheckpointMismatchError, InputError
from flax_bert import BertConfig, FlaxBertForSequenceClassification, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


@pytest.fixture(scope="module")
def whole():
    return FlaxBertModel(BertConfig(**TINY), seed=4)


@pytest.fixture(scope="module")
def empty():
    return FlaxBertModel(BertConfig(**TINY), _do_init=False)


@pytest.fixture(scope="module")
def saved(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved")
    whole.save_pretrained(path)
    return path


def same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_arguments_stand_in_the_order_of_transformers_flax():
    model = FlaxBertModel(BertConfig(**TINY), (2, 8), 3, jnp.bfloat16, False, gradient_checkpointing=True)

    assert (model.input_shape, model.seed, model.dtype) == ((2, 8), 3, jnp.bfloat16)
    assert model.is_gradient_checkpointing
    with pytest.raises(InputError, match="_do_init=False"):
        _ = model.params


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": 5}, r"input_shape is 5, not a tuple of sizes"),
        ({"input_shape": ()}, r"input_shape is \(\)"),
        ({"input_shape": (1, 0)}, r"input_shape\[1\] is 0, not a whole number above 0"),
        ({"seed": 1.5}, "seed is 1.5, not a whole number"),
        ({"dtype": "int32"}, "dtype is int32; models compute in floating-point types"),
        ({"param_dtype": "float31"}, "param_dtype is 'float31', which is not a type"),
    ],
)
def test_wrong_arguments_of_the_constructor_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        FlaxBertModel(BertConfig(**TINY), **arguments)


def test_a_model_without_parameters_knows_their_shapes_and_allocates_none(empty, whole):
    assert empty.required_params == whole.required_params
    assert empty.num_parameters() == whole.num_parameters()
    assert empty.get_memory_footprint() == whole.get_memory_footprint() == 4 * whole.num_parameters()
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(empty.params_shape_tree))


def test_it_refuses_what_needs_parameters_and_says_where_they_come_from(empty, tmp_path):
    for needing in (
        lambda: empty.params,
        lambda: empty.module,
        lambda: empty(IDS),
        lambda: empty.save_pretrained(tmp_path / "new"),
        lambda: empty.resize_token_embeddings(40),
    ):
        with pytest.raises(InputError, match=r"init_weights\(rng, input_shape\)"):
            needing()
    assert not (tmp_path / "new").exists()


def test_it_computes_and_saves_with_parameters_that_it_is_given(empty, whole, tmp_path):
    output = empty(IDS, params=whole.params)
    empty.save_pretrained(tmp_path, params=whole.params)

    np.testing.assert_array_equal(output.last_hidden_state, whole(IDS).last_hidden_state)
    same(AutoModel.from_pretrained(tmp_path).params, whole.params)


def test_parameters_can_be_given_to_it_for_good(whole):
    model = FlaxBertModel(BertConfig(**TINY), _do_init=False)

    model.params = whole.params

    np.testing.assert_array_equal(model(IDS).last_hidden_state, whole(IDS).last_hidden_state)


@pytest.mark.parametrize("key", [jax.random.key, jax.random.PRNGKey])
def test_init_weights_draws_what_the_constructor_draws_from_the_same_seed(empty, whole, key):
    params = empty.init_weights(key(4), (1, 8))

    same(params, whole.params)
    with pytest.raises(InputError):
        _ = empty.params


def test_init_weights_keeps_the_leaves_that_it_is_given_and_draws_the_others_as_always(empty, whole):
    bias = jnp.full(12, 7.0)
    given = {"pooler": {"dense": {"bias": bias}}, "encoder": {"layer": {"1": whole.params["encoder"]["layer"]["1"]}}}

    params = empty.init_weights(jax.random.key(9), (1, 1), params=freeze(given))

    everything = empty.init_weights(jax.random.key(9), (1, 1))
    assert params["pooler"]["dense"]["bias"] is bias
    same(params["encoder"]["layer"]["1"], whole.params["encoder"]["layer"]["1"])
    for found, expected in zip(
        jax.tree.leaves(params["encoder"]["layer"]["0"]),
        jax.tree.leaves(everything["encoder"]["layer"]["0"]),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # a few draws are compiled together, many one by one
    assert jax.tree.structure(params) == jax.tree.structure(everything)


def test_init_weights_of_a_whole_tree_draws_nothing(empty, whole):
    params = empty.init_weights(jax.random.key(9), (1, 1), params=whole.params)

    assert all(a is b for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(whole.params), strict=True))


def test_init_weights_can_be_compiled(empty, whole):
    compiled = jax.jit(functools.partial(empty.init_weights, input_shape=(1, 1)))

    params = compiled(jax.random.PRNGKey(4))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), params, whole.params)


def test_init_weights_refuses_leaves_that_do_not_fit(empty):
    given = {"pooler": {"dense": {"bias": jnp.zeros(3), "gain": jnp.zeros(12)}}, "cls": {"bias": jnp.zeros(1)}}

    with pytest.raises(CheckpointMismatchError) as raised:
        empty.init_weights(jax.random.key(0), (1, 1), params=given)

    assert raised.value.trace == (
        "pooler.dense.gain", "cls.bias", "pooler.dense.bias has shape [3], not [12]",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rng", "said"),
    [
        (0, "rng is 0, not a random key"),
        (None, "rng is None"),
        (np.zeros(2), r"rng is an array \[2\] of float64"),
        (np.zeros(3, np.uint32), r"rng is an array \[3\] of uint32"),
        (jax.random.split(jax.random.key(0), 2), r"rng is an array \[2\] of key<fry>"),
    ],
)
def test_what_is_no_key_is_refused(empty, rng, said):
    with pytest.raises(InputError, match=said):
        empty.init_weights(rng, (1, 1))


@pytest.mark.parametrize("loader", [AutoModel, FlaxBertModel])
def test_loading_gives_a_model_without_parameters_and_the_tree(loader, saved, whole):
    model, params = loader.from_pretrained(saved, _do_init=False)

    assert type(model) is FlaxBertModel
    same(params, whole.params)
    assert len(model.load_report.loaded) == len(model.required_params)
    with pytest.raises(InputError, match="_do_init=False"):
        _ = model.params
    np.testing.assert_array_equal(model(IDS, params=params)[0], whole(IDS)[0])


def test_from_config_takes_it_too():
    model = AutoModel.from_config(BertConfig(**TINY), _do_init=False)

    with pytest.raises(InputError, match="_do_init=False"):
        _ = model.params


def test_a_tree_from_another_task_lacks_the_head_until_init_weights_adds_it(saved, caplog):
    with caplog.at_level(logging.WARNING, logger="automodels"):
        model, params = AutoModelForSequenceClassification.from_pretrained(saved, _do_init=False)
    with pytest.raises(CheckpointMismatchError, match=r"missing: classifier.bias, classifier.kernel"):
        model(IDS, params=params)

    full = model.init_weights(jax.random.key(0), (1, 8), params=params)

    assert sorted(model.load_report.missing) == ["classifier.bias", "classifier.kernel"]
    assert sorted(params) == ["bert"]
    assert caplog.text == ""  # nothing was drawn, so there is nothing to warn of
    assert model(IDS, params=full).logits.shape == (2, 2)


def test_a_head_that_was_drawn_while_loading_is_named_in_one_warning(saved, caplog):
    with caplog.at_level(logging.WARNING, logger="automodels"):
        FlaxBertForSequenceClassification.from_pretrained(saved)

    assert [record.getMessage() for record in caplog.records] == [
        f"FlaxBertForSequenceClassification from {saved}: classifier.bias, classifier.kernel are fresh, not from the "
        "checkpoint; train the model before its results are used."
    ]


def test_a_model_for_sentence_embedding_is_loaded_as_a_pair_too(minilm):
    model, params = AutoModelForSentenceEmbedding.from_pretrained(minilm, _do_init=False)

    vector = model.encode("A man is eating food.", params=params)

    expected = AutoModelForSentenceEmbedding.from_pretrained(minilm).encode("A man is eating food.")
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    with pytest.raises(InputError, match="_do_init=False"):
        model.encode("A man is eating food.")
