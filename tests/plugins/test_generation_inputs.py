"""init_cache, prepare_inputs_for_generation, update_inputs_for_generation: what a decoder's calls are given."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import InputError
from flax_bert import BertConfig, FlaxBertForCausalLM, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16, is_decoder=True,
)  # fmt: skip
IDS = jnp.array([[1, 5, 7, 2], [1, 9, 2, 3]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertForCausalLM(BertConfig(**TINY), seed=1)


def test_only_models_that_predict_the_next_token_generate(model):
    assert model.can_generate()
    assert FlaxBertForCausalLM.can_generate()
    assert not FlaxBertModel.can_generate()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cache_has_the_shape_that_the_config_says_in_the_type_of_the_computation(dtype):
    model = FlaxBertForCausalLM(BertConfig(**TINY), dtype=dtype, _do_init=False)

    cache = model.init_cache(3, 10)

    assert len(cache.keys) == len(cache.values) == 2
    assert {(array.shape, str(array.dtype)) for array in (*cache.keys, *cache.values)} == {((3, 10, 3, 4), dtype)}
    assert int(cache.length) == 0


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((0, 4), "batch_size is 0, not a whole number above 0"),
        ((1, -1), "max_length is -1"),
        ((1.5, 4), "batch_size is 1.5, not a whole number"),
        ((1, 17), "max_length is 17; the model has positions for 16"),
    ],
)
def test_impossible_caches_are_refused(model, sizes, said):
    with pytest.raises(InputError, match=said):
        model.init_cache(*sizes)


def test_a_prompt_is_given_a_cache_a_mask_over_all_of_it_and_positions(model):
    arguments = model.prepare_inputs_for_generation(IDS, 7)

    assert sorted(arguments) == ["attention_mask", "past_key_values", "position_ids"]
    assert arguments["past_key_values"].max_length == 7
    np.testing.assert_array_equal(arguments["attention_mask"], np.ones((2, 7)))
    np.testing.assert_array_equal(arguments["position_ids"], [[0, 1, 2, 3]] * 2)


def test_positions_count_what_the_mask_keeps(model):
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])

    arguments = model.prepare_inputs_for_generation(IDS, 6, attention_mask=mask)

    np.testing.assert_array_equal(arguments["attention_mask"], [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(arguments["position_ids"], [[0, 0, 0, 1], [0, 1, 2, 3]])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((IDS, 3), "The prompt has 4 tokens; max_length=3 leaves no room"),
        ((IDS[0], 8), r"input_ids has shape \[4\]; a prompt is \[batch, tokens\]"),
        ((IDS[:, :0], 8), r"input_ids has shape \[2, 0\]"),
        ((IDS, 8, np.ones((2, 3))), r"attention_mask has shape \[2, 3\], input_ids \[2, 4\]"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(model, given, said):
    with pytest.raises(InputError, match=said):
        model.prepare_inputs_for_generation(*given)


def test_step_by_step_computes_what_one_call_computes(model):
    whole = model(IDS).logits
    arguments = model.prepare_inputs_for_generation(IDS[:, :2], 4)
    first = arguments

    logits = []
    tokens = IDS[:, :2]
    for step in range(3):
        output = model(tokens, **arguments)
        logits.append(output.logits)
        arguments = model.update_inputs_for_generation(output, arguments)
        tokens = IDS[:, 2 + step : 3 + step]

    np.testing.assert_allclose(jnp.concatenate(logits, axis=1), whole, atol=1e-5)
    np.testing.assert_array_equal(arguments["position_ids"], [[4], [4]])
    assert int(arguments["past_key_values"].length) == 4
    assert int(first["past_key_values"].length) == 0
    assert first["position_ids"].shape == (2, 2)


def test_padding_on_the_left_does_not_change_a_text(model):
    plain = model(jnp.array([[1, 5, 7]]), **model.prepare_inputs_for_generation(jnp.array([[1, 5, 7]]), 5))
    ids, mask = jnp.array([[0, 0, 1, 5, 7]]), np.array([[0, 0, 1, 1, 1]])

    padded = model(ids, **model.prepare_inputs_for_generation(ids, 7, attention_mask=mask))

    np.testing.assert_allclose(padded.logits[:, 2:], plain.logits, atol=1e-5)
