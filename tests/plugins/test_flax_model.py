"""FlaxPreTrainedModel, through a BERT small enough to build at every test."""

from __future__ import annotations

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels import AutoModel
from automodels.errors import (
    BackendUnavailableError,
    CheckpointMismatchError,
    InputError,
    UnknownArgumentError,
    UnsupportedConfigError,
)
from flax_bert import BertConfig, FlaxBertForMaskedLM, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY), seed=1)


def test_a_model_says_what_it_is(model):
    assert model.framework == "flax"
    assert model.dtype == jnp.float32
    assert model.seed == 1
    assert model.input_shape == (1, 1)
    assert model.config.hidden_size == 12
    assert model.backend_report.name == "headwise"
    assert model.num_parameters() == sum(leaf.size for leaf in jax.tree.leaves(model.params))


def test_the_parameter_tree_is_named_as_in_transformers_flax(model):
    layer = model.params["encoder"]["layer"]["1"]

    assert sorted(model.params) == ["embeddings", "encoder", "pooler"]
    assert sorted(model.params["embeddings"]) == [
        "LayerNorm", "position_embeddings", "token_type_embeddings", "word_embeddings",
    ]  # fmt: skip
    assert layer["attention"]["self"]["query"]["kernel"].shape == (12, 12)
    assert layer["attention"]["output"]["LayerNorm"]["scale"].shape == (12,)
    assert layer["intermediate"]["dense"]["kernel"].shape == (12, 20)
    assert ("encoder", "layer", "1", "output", "dense", "bias") in model.required_params
    assert model.params_shape_tree["pooler"]["dense"]["kernel"].shape == (12, 12)


def test_eleven_layers_keep_their_order():
    config = BertConfig(**{**TINY, "num_hidden_layers": 11})
    model = FlaxBertModel(config)
    reversed_tree = {**model.params, "encoder": {"layer": dict(reversed(model.params["encoder"]["layer"].items()))}}

    expected = model(IDS).last_hidden_state
    found = model(IDS, params=reversed_tree).last_hidden_state

    np.testing.assert_array_equal(found, expected)


def test_the_seed_decides_fresh_parameters():
    first, again, other = (FlaxBertModel(BertConfig(**TINY), seed=seed).params for seed in (1, 1, 2))

    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(
        first["embeddings"]["word_embeddings"]["embedding"], other["embeddings"]["word_embeddings"]["embedding"]
    )


def test_padding_and_neighbours_do_not_change_a_row(model):
    together = model(IDS, attention_mask=MASK).last_hidden_state

    alone = model(IDS[1:, :3], attention_mask=MASK[1:, :3]).last_hidden_state

    np.testing.assert_allclose(together[1, :3], alone[0], atol=1e-6)


def test_jit_grad_vmap_and_donation(model):
    def loss(params, ids):
        return model(ids, params=params).last_hidden_state.var()

    plain = loss(model.params, jnp.asarray(IDS))
    jitted = jax.jit(loss)(model.params, jnp.asarray(IDS))
    gradients = jax.grad(loss)(model.params, jnp.asarray(IDS))
    mapped = jax.vmap(lambda ids: loss(model.params, ids[None]))(jnp.asarray(IDS))

    np.testing.assert_allclose(jitted, plain, rtol=1e-6)
    assert jax.tree.structure(gradients) == jax.tree.structure(model.params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
    assert mapped.shape == (2,)
    copied = jax.tree.map(jnp.copy, model.params)
    step = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf * 2, params), donate_argnums=0)
    assert model(IDS, params=step(copied)).last_hidden_state.shape == (2, 5, 12)


def test_ids_that_a_compiled_function_closes_over_are_checked_when_it_is_traced(model):
    ids, wrong = jnp.asarray(IDS), jnp.asarray(IDS + 30)

    closed = jax.jit(lambda params: model(ids, params=params).last_hidden_state)(model.params)

    np.testing.assert_allclose(closed, model(IDS).last_hidden_state, atol=1e-6)
    with pytest.raises(InputError, match="the model's table has rows 0 to 30"):
        jax.jit(lambda params: model(wrong, params=params).last_hidden_state)(model.params)


def test_a_gradient_equals_the_numeric_one(model):
    ids = jnp.asarray(IDS)

    def loss(bias):
        params = {**model.params, "pooler": {"dense": {**model.params["pooler"]["dense"], "bias": bias}}}
        return jnp.sin(model(ids, params=params).pooler_output).sum()

    bias = model.params["pooler"]["dense"]["bias"]
    step = 1e-2
    numeric = (loss(bias.at[3].add(step)) - loss(bias.at[3].add(-step))) / (2 * step)

    np.testing.assert_allclose(jax.grad(loss)(bias)[3], numeric, rtol=1e-2)


def test_dropout_needs_a_key_and_follows_it(model):
    key = jax.random.key(0)

    first = model(IDS, train=True, dropout_rng=key).last_hidden_state
    again = model(IDS, train=True, dropout_rng=key).last_hidden_state
    other = model(IDS, train=True, dropout_rng=jax.random.key(1)).last_hidden_state
    off = model(IDS, train=False, dropout_rng=key).last_hidden_state

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(off, model(IDS).last_hidden_state)
    with pytest.raises(InputError, match="dropout_rng"):
        model(IDS, train=True)


def test_outputs_are_reached_by_attribute_key_and_position(model):
    output = model(IDS, output_hidden_states=True)

    assert output["last_hidden_state"] is output.last_hidden_state is output[0]
    assert list(output) == ["last_hidden_state", "pooler_output", "hidden_states"]
    assert "attentions" not in output
    assert len(output) == 3
    assert output.attentions is None
    with pytest.raises(KeyError, match="attentions"):
        output["attentions"]
    assert len(output.hidden_states) == 3
    as_tuple = model(IDS, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == 2


def test_flags_of_the_config_are_the_defaults_of_a_call():
    model = FlaxBertModel(BertConfig(**TINY, output_attentions=True, return_dict=False))

    hidden, pooled, attentions = model(IDS)

    assert attentions[0].shape == (2, 3, 5, 5)
    assert len(model(IDS, output_attentions=False)) == 2


def test_the_module_is_a_live_nnx_module(model):
    output = model.module(jnp.asarray(IDS))

    np.testing.assert_allclose(output.last_hidden_state, model(IDS).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_compute_close_to_float32(dtype):
    full = FlaxBertModel(BertConfig(**TINY))
    half = FlaxBertModel(BertConfig(**TINY), dtype=dtype)

    output = half(IDS).last_hidden_state

    assert output.dtype == dtype
    assert half.params["pooler"]["dense"]["kernel"].dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(output, np.float32), full(IDS).last_hidden_state, atol=0.1)


def test_setting_parameters_checks_names_and_shapes(model):
    fresh = FlaxBertModel(BertConfig(**TINY), seed=5)
    without = {**model.params, "pooler": {"dense": {"bias": model.params["pooler"]["dense"]["bias"]}}}
    wrong = {**model.params, "pooler": {"dense": {"bias": jnp.zeros(3), "kernel": jnp.zeros((12, 12))}}}

    fresh.params = model.params

    np.testing.assert_array_equal(fresh(IDS).pooler_output, model(IDS).pooler_output)
    with pytest.raises(CheckpointMismatchError, match="pooler.dense.kernel"):
        fresh.params = without
    with pytest.raises(CheckpointMismatchError, match=r"pooler.dense.bias has shape \[3\], not \[12\]"):
        fresh.params = wrong


def test_a_model_keeps_its_own_copy_of_the_config():
    config = BertConfig(**TINY)
    model = FlaxBertModel(config)

    config.hidden_size = 24

    assert model.config.hidden_size == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": [[1, 31]]}, "input_ids has the value 31; the model's table has rows 0 to 30"),
        ({"input_ids": [[-1, 3]]}, "input_ids has the value -1"),
        ({"input_ids": [[1] * 17]}, "input_ids has 17 tokens; the model has positions for 16"),
        ({"input_ids": [1, 2, 3]}, r"input_ids has shape \[3\]"),
        ({"input_ids": [[]]}, r"input_ids has shape \[1, 0\]"),
        ({"input_ids": [[1.5]]}, "input_ids holds float64"),
        ({"input_ids": [["a"]]}, "not whole numbers"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1]]}, r"attention_mask has shape \[1, 1\], input_ids \[1, 2\]"),
        ({"input_ids": [[1, 2]], "token_type_ids": [[0, 2]]}, "token_type_ids has the value 2"),
        ({"input_ids": [[1, 2]], "position_ids": [[0, 16]]}, "position_ids has the value 16"),
    ],
)
def test_wrong_inputs_are_refused_outside_the_compiled_program(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model(**arguments)


def test_wrong_arguments_are_named(minilm):
    with pytest.raises(UnknownArgumentError, match="'hiden_act'; did you mean 'hidden_act'"):
        AutoModel.from_pretrained(minilm, hiden_act="relu")
    with pytest.raises(UnknownArgumentError, match="'plugn'; did you mean 'plugin'"):
        AutoModel.from_pretrained(minilm, plugn="flax-bert")
    with pytest.raises(UnknownArgumentError, match="'framework'"):
        FlaxBertModel.from_pretrained(minilm, framework="flax")
    with pytest.raises(UnknownArgumentError, match="'sed'; did you mean 'seed'"):
        AutoModel.from_config(BertConfig(**TINY), sed=1)
    with pytest.raises(BackendUnavailableError, match="did you mean 'xla'"):
        AutoModel.from_pretrained(minilm, backend="xl")
    with pytest.raises(InputError, match="dtype is 'float31'"):
        AutoModel.from_pretrained(minilm, dtype="float31")
    with pytest.raises(InputError, match="int32; models compute in floating-point types"):
        AutoModel.from_pretrained(minilm, dtype="int32")
    with pytest.raises(UnsupportedConfigError, match="relative_key"):
        AutoModel.from_pretrained(minilm, position_embedding_type="relative_key")
    with pytest.raises(InputError, match="FlaxBertModel needs a BertConfig"):
        FlaxBertModel({"hidden_size": 12})
    with pytest.raises(InputError, match="FlaxBertModel needs a BertConfig, not a dict"):
        AutoModel.from_pretrained(minilm, config={"hidden_size": 12})


def test_overrides_of_the_config_change_the_model_and_are_checked_against_the_weights(minilm):
    model = AutoModel.from_pretrained(minilm, output_hidden_states=True)

    assert len(model([[101, 102]]).hidden_states) == 7
    with pytest.raises(CheckpointMismatchError, match="embeddings.word_embeddings.weight has shape"):
        AutoModel.from_pretrained(minilm, vocab_size=7)


def test_parameters_of_another_shape_start_afresh_when_asked(minilm):
    model = AutoModel.from_pretrained(minilm, type_vocab_size=3, ignore_mismatched_sizes=True)

    assert model.load_report.mismatched == ("embeddings.token_type_embeddings.embedding",)
    assert model.params["embeddings"]["token_type_embeddings"]["embedding"].shape == (3, 384)


def test_strict_loading_refuses_leftovers_and_fresh_parameters(minilm):
    assert AutoModel.from_pretrained(minilm, strict=True).load_report.missing == ()
    golden = __import__("pathlib").Path(__file__).parents[1] / "golden" / "bert" / "masked_lm_sharded"

    with pytest.raises(CheckpointMismatchError, match="left over: cls.predictions") as raised:
        AutoModel.from_pretrained(golden, strict=True)

    assert "missing: pooler.dense.kernel" in raised.value.trace


def test_parameters_are_cast_on_the_way_in(minilm):
    model = AutoModel.from_pretrained(minilm, param_dtype="bfloat16")

    assert {str(leaf.dtype) for leaf in jax.tree.leaves(model.params)} == {"bfloat16"}
    assert len(model.load_report.cast) == len(model.load_report.loaded) == 103


def test_from_config_gives_fresh_weights():
    model = AutoModel.from_config(BertConfig(**TINY), seed=3)

    assert isinstance(model, FlaxBertModel)
    assert model.load_report is None


def test_the_choice_among_frameworks_is_logged_only_when_there_is_one(minilm, caplog):
    with caplog.at_level(logging.INFO, logger="automodels"):
        AutoModel.from_pretrained(minilm)

    assert "was taken" not in caplog.text


def test_ten_calls_of_one_shape_compile_once():
    model = FlaxBertModel(BertConfig(**TINY))

    for _ in range(10):
        model(IDS, attention_mask=MASK)

    assert model._run._cache_size() == 1


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (FlaxBertModel, "pruned_heads", {0: [1]}),
        (FlaxBertForMaskedLM, "pruned_heads", {0: [1]}),
        (FlaxBertForMaskedLM, "add_cross_attention", True),
    ],
)
def test_switches_that_are_not_implemented_are_refused_by_name(kind, field, value):
    with pytest.raises(UnsupportedConfigError, match=f"{kind.__name__} is implemented for {field}="):
        kind(BertConfig(**TINY, **{field: value}))


def test_more_layers_than_tensors_are_refused_before_any_layer_is_built(minilm):
    with pytest.raises(CheckpointMismatchError, match="has 9000 layers; its weight files have 104 tensors"):
        AutoModel.from_pretrained(minilm, num_hidden_layers=9000)


def test_building_does_work_in_proportion_to_the_layers():
    """nnx.Rngs counted by tracing, which took time that grew with the square: 130 s for 200 layers."""
    from flax_runtime.keys import Keys

    keys = Keys(jax.random.key(0))

    assert not np.array_equal(jax.random.key_data(keys.params()), jax.random.key_data(keys.params()))
    assert FlaxBertModel(BertConfig(**{**TINY, "num_hidden_layers": 200})).num_parameters() > 200 * 1000


def test_models_of_one_config_share_their_outline_and_those_of_another_do_not():
    config = BertConfig(**TINY)
    model = FlaxBertModel(config)
    config.hidden_act = "relu"  # in place, after the outline was kept
    other = FlaxBertModel(config)
    config.hidden_act = "gelu"
    again = FlaxBertModel(config, seed=1)
    half = FlaxBertModel(config, param_dtype="bfloat16")

    assert again.params_shape_tree == model.params_shape_tree
    assert again._graphdef is model._graphdef
    assert other._graphdef is not model._graphdef
    assert half._graphdef is not model._graphdef
    np.testing.assert_array_equal(again(IDS, params=model.params)[0], model(IDS)[0])
    assert not np.allclose(other(IDS, params=model.params)[0], model(IDS)[0])
