"""BERT as a decoder: what a cache gives, step by step, is what one call over the whole text gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import InputError
from flax_bert import BertConfig, FlaxBertForCausalLM, FlaxBertForMaskedLM, FlaxBertModel
from flax_runtime.cache import KVCache

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16, is_decoder=True,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 11, 3], [1, 9, 2, 30, 4, 6]])
STEPS = [[1] * 6, [3, 1, 2], [6], [2, 4]]


def wide(model, seed=0):
    """Parameters so large that a mistake shows; fresh ones are near zero."""
    leaves, tree = jax.tree.flatten(model.params)
    random = np.random.default_rng(seed)
    model.params = jax.tree.unflatten(tree, [random.normal(0, 0.4, leaf.shape).astype(np.float32) for leaf in leaves])
    return model


@pytest.fixture(scope="module")
def model():
    return wide(FlaxBertForCausalLM(BertConfig(**TINY)))


@pytest.fixture(scope="module")
def crossing():
    return wide(FlaxBertForCausalLM(BertConfig(**TINY, add_cross_attention=True)))


def in_steps(model, ids, steps, cache, **options):
    """(logits of all steps, last cache)."""
    logits, start = [], 0
    for tokens in steps:
        output = model(ids[:, start : start + tokens], past_key_values=cache, **options)
        cache, start = output.past_key_values, start + tokens
        logits.append(output.logits)
    return np.concatenate(logits, axis=1), cache


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("room", [6, 10])
def test_steps_with_a_cache_give_what_one_call_gives(model, steps, room):
    expected = model(IDS).logits

    found, cache = in_steps(model, IDS, steps, model.init_cache(2, room))

    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert int(cache.length) == 6


def test_a_later_token_changes_nothing_before_it(model):
    changed = IDS.copy()
    changed[:, 4] = 20

    before, after = model(IDS).logits, model(changed).logits

    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 0.01


def test_without_an_encoder_cross_attention_is_left_out(crossing, model):
    layers = crossing.params["bert"]["encoder"]["layer"].items()
    plain = {
        number: {name: part for name, part in layer.items() if name != "crossattention"} for number, layer in layers
    }
    params = {**crossing.params, "bert": {**crossing.params["bert"], "encoder": {"layer": plain}}}

    np.testing.assert_array_equal(crossing(IDS).logits, model(IDS, params=params).logits)


@pytest.mark.parametrize("steps", STEPS)
def test_cross_attention_with_a_cache_gives_what_one_call_gives(crossing, steps):
    states = np.random.default_rng(3).normal(size=(2, 4, 12)).astype(np.float32)
    encoder = dict(encoder_hidden_states=states, encoder_attention_mask=np.array([[1, 1, 1, 0], [1, 0, 1, 1]]))
    expected = crossing(IDS, **encoder)

    found, _ = in_steps(crossing, IDS, steps, crossing.init_cache(2, 8), **encoder)

    np.testing.assert_allclose(found, expected.logits, atol=1e-5)
    other = crossing(IDS, encoder_hidden_states=states + 1).logits
    assert np.abs(other - expected.logits).max() > 0.01


def test_attentions_of_a_step_are_over_the_whole_cache(crossing):
    states = np.ones((2, 4, 12), np.float32)
    cache = crossing(
        IDS[:, :3], encoder_hidden_states=states, past_key_values=crossing.init_cache(2, 8)
    ).past_key_values

    output = crossing(IDS[:, 3:5], encoder_hidden_states=states, past_key_values=cache, output_attentions=True)

    assert [weights.shape for weights in output.attentions] == [(2, 3, 2, 8)] * 2
    assert [weights.shape for weights in output.cross_attentions] == [(2, 3, 2, 4)] * 2
    assert not np.asarray(output.attentions[0])[:, :, 0, 4:].any()
    np.testing.assert_allclose(output.attentions[1].sum(-1), 1, rtol=1e-5)


def test_padding_on_the_left_changes_nothing_of_a_text(model):
    """A short text and a long one in one batch, as generation puts them there."""
    ids = jnp.asarray([[0, 0, *IDS[0, :4]], IDS[1]])
    mask = jnp.asarray([[0, 0, 1, 1, 1, 1], [1] * 6])
    arguments = model.prepare_inputs_for_generation(ids, 9, mask)
    prompt = model(ids, **arguments)

    arguments = model.update_inputs_for_generation(prompt, arguments)
    step = model(jnp.asarray([[13], [17]]), **arguments)

    alone = model(np.append(IDS[:1, :4], [[13]], axis=1)).logits
    other = model(np.append(IDS[1:], [[17]], axis=1)).logits
    np.testing.assert_allclose(prompt.logits[0, 2:], alone[0, :4], atol=1e-5)
    np.testing.assert_allclose(step.logits[0, 0], alone[0, 4], atol=1e-5)
    np.testing.assert_allclose(step.logits[1, 0], other[0, 6], atol=1e-5)


def test_the_mask_of_slots_that_are_not_written_yet_does_not_matter(model):
    ones = model(IDS, attention_mask=np.ones((2, 9), int), past_key_values=model.init_cache(2, 9)).logits

    zeros = np.array([[1] * 6 + [0] * 3] * 2)
    found = model(IDS, attention_mask=zeros, past_key_values=model.init_cache(2, 9)).logits

    np.testing.assert_allclose(found, ones, atol=1e-6)


def test_a_call_leaves_the_cache_that_it_was_given_as_it_is(model):
    empty = model.init_cache(2, 8)
    held = model(IDS[:, :3], past_key_values=empty).past_key_values
    first = model(IDS[:, 3:4], past_key_values=held).logits

    again = model(IDS[:, 3:4], past_key_values=held).logits

    np.testing.assert_array_equal(first, again)
    assert not any(array.any() for array in empty.keys + empty.values)
    assert (int(empty.length), int(held.length)) == (0, 3)


def test_a_compiled_step_takes_a_donated_cache_and_is_compiled_once(model):
    traced = []

    def step(params, token, cache):
        traced.append(token.shape)
        output = model(token, past_key_values=cache, params=params)
        return output.logits, output.past_key_values

    compiled = jax.jit(step, donate_argnums=2)
    cache = first = model.init_cache(2, 8)
    logits = []

    for place in range(6):
        found, cache = compiled(model.params, IDS[:, place : place + 1], cache)
        logits.append(found)

    np.testing.assert_allclose(np.concatenate(logits, axis=1), model(IDS).logits, atol=1e-5)
    assert traced == [(2, 1)]
    assert first.stored_keys[0].is_deleted()
    assert first.stored_values[1].is_deleted()


def test_a_whole_text_is_decoded_in_one_scan(model):
    def step(cache, token):
        output = model(token[:, None], past_key_values=cache)
        return output.past_key_values, output.logits[:, 0]

    cache, logits = jax.lax.scan(step, model.init_cache(2, 6), jnp.asarray(IDS.T))

    np.testing.assert_allclose(np.moveaxis(logits, 0, 1), model(IDS).logits, atol=1e-5)
    assert int(cache.length) == 6


def test_beyond_the_end_of_a_cache_a_call_is_refused_and_inside_jit_the_result_is_nan(model):
    held = model(IDS, past_key_values=model.init_cache(2, 7)).past_key_values
    jitted = jax.jit(lambda ids, cache: model(ids, past_key_values=cache).logits)

    with pytest.raises(InputError, match="past_key_values holds 6 of 7 tokens; 2 more do not fit"):
        model(IDS[:, :2], past_key_values=held)
    assert bool(jnp.isnan(jitted(IDS[:, :2], held)).all())
    assert bool(jnp.isfinite(jitted(IDS[:, :1], held)).all())


def test_the_backbone_takes_a_cache_too_and_a_tuple_has_it_second():
    model = wide(FlaxBertModel(BertConfig(**TINY)))
    expected = model(IDS)

    hidden, cache, pooled = model(IDS[:, :4], past_key_values=model.init_cache(2, 6), return_dict=False)
    rest = model(IDS[:, 4:], past_key_values=cache)

    np.testing.assert_allclose(hidden, expected.last_hidden_state[:, :4], atol=1e-5)
    np.testing.assert_allclose(rest.last_hidden_state, expected.last_hidden_state[:, 4:], atol=1e-5)
    np.testing.assert_allclose(pooled, expected.pooler_output, atol=1e-5)
    assert list(rest) == ["last_hidden_state", "pooler_output", "past_key_values"]


def test_the_fields_of_a_causal_model_stand_in_the_order_of_transformers(crossing):
    output = crossing(
        IDS, encoder_hidden_states=np.ones((2, 4, 12), np.float32), past_key_values=crossing.init_cache(2, 6),
        output_attentions=True, output_hidden_states=True,
    )  # fmt: skip

    assert list(output) == ["logits", "past_key_values", "hidden_states", "attentions", "cross_attentions"]


def test_a_cache_has_the_type_of_the_computation():
    half = FlaxBertForCausalLM(BertConfig(**TINY), dtype="bfloat16")
    full = FlaxBertForCausalLM(BertConfig(**TINY))

    output = half(IDS, past_key_values=half.init_cache(2, 6))

    assert output.past_key_values.keys[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(output.logits, np.float32), full(IDS).logits, atol=0.05)


def test_gradients_flow_through_a_cache(model):
    def loss(params, steps):
        cache, start, total = model.init_cache(2, 6), 0, 0.0
        for tokens in steps:
            output = model(IDS[:, start : start + tokens], past_key_values=cache, params=params)
            cache, start = output.past_key_values, start + tokens
            total = total + (output.logits**2).sum()
        return total

    whole, stepped = jax.grad(loss)(model.params, [6]), jax.grad(loss)(model.params, [4, 2])

    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(whole))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"past_key_values": {}}, "past_key_values is a dict, not a cache"),
        ({"past_key_values": (3, 8)}, r"layers of shape \[3, 8, 3, 4\]; the call needs 2 of \[2, 8, 3, 4\]"),
        ({"past_key_values": (2, 5)}, "holds 0 of 5 tokens; 6 more do not fit"),
        ({"past_key_values": (2, 8), "attention_mask": np.ones((2, 6), int)}, r"covers the whole cache: \[2, 8\]"),
        ({"encoder_hidden_states": np.ones((2, 3, 12), np.float32)}, "has no cross attention"),
        ({"encoder_attention_mask": np.ones((2, 3), int)}, "encoder_attention_mask is given; the model has no cross"),
    ],
)
def test_what_a_decoder_cannot_use_is_refused(model, arguments, message):
    cache = arguments.get("past_key_values")
    arguments = {**arguments, "past_key_values": model.init_cache(*cache)} if isinstance(cache, tuple) else arguments

    with pytest.raises(InputError, match=message):
        model(IDS, **arguments)


def test_a_cache_of_another_model_is_refused(model):
    other = KVCache.empty(layers=3, batch=2, max_length=8, heads=3, head_size=4, dtype=jnp.float32)

    with pytest.raises(InputError, match="past_key_values has 3 layers"):
        model(IDS, past_key_values=other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder_attention_mask": np.ones((2, 3), int)}, "is given without encoder_hidden_states"),
        ({"encoder_hidden_states": np.ones((2, 3, 11), np.float32)}, r"needs \[2, encoder's tokens, 12\]"),
        ({"encoder_hidden_states": np.ones((3, 3, 12), np.float32)}, r"has shape \[3, 3, 12\]; it needs \[2,"),
        ({"encoder_hidden_states": np.ones((2, 12), np.float32)}, r"has shape \[2, 12\]"),
        ({"encoder_hidden_states": np.ones((2, 3, 12), int)}, "holds int64, not floating-point"),
        (
            {"encoder_hidden_states": np.ones((2, 3, 12), np.float32), "encoder_attention_mask": np.ones((2, 4), int)},
            r"encoder_attention_mask has shape \[2, 4\], encoder_hidden_states \[2, 3, 12\]",
        ),
        (
            {"encoder_hidden_states": np.ones((2, 3, 12), np.float32), "encoder_attention_mask": np.ones((2, 3))},
            "encoder_attention_mask holds float64",
        ),
    ],
)
def test_an_encoders_states_that_do_not_fit_are_refused(crossing, arguments, message):
    with pytest.raises(InputError, match=message):
        crossing(IDS, **arguments)


def test_a_cache_longer_than_the_table_of_positions_is_refused(model):
    long = KVCache.empty(layers=2, batch=2, max_length=17, heads=3, head_size=4, dtype=jnp.float32)

    with pytest.raises(InputError, match="past_key_values has 17 slots; the model has positions for 16"):
        model(IDS, past_key_values=long)


def test_a_cache_is_for_decoders_and_for_tasks_that_return_it():
    cache = KVCache.empty(layers=2, batch=2, max_length=8, heads=3, head_size=4, dtype=jnp.float32)
    encoder = FlaxBertModel(BertConfig(**{**TINY, "is_decoder": False}))

    with pytest.raises(InputError, match="is for decoders; the config has is_decoder=False"):
        encoder(IDS, past_key_values=cache)
    with pytest.raises(InputError, match="this task takes none"):
        FlaxBertForMaskedLM(BertConfig(**TINY))(IDS, past_key_values=cache)


def test_a_causal_model_that_sees_later_tokens_says_so(caplog):
    FlaxBertForCausalLM(BertConfig(**{**TINY, "is_decoder": False}))

    assert "FlaxBertForCausalLM sees later tokens too" in caplog.text


def test_a_decoder_with_a_masked_language_models_head_is_causal_all_the_same():
    model = wide(FlaxBertForMaskedLM(BertConfig(**TINY)))

    before, after = model(IDS).logits, model(IDS[:, :3]).logits

    np.testing.assert_allclose(before[:, :3], after, atol=1e-5)
