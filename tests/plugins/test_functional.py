"""Functional calls: jit, grad, vmap, donated buffers, keys, trees that do not fit, gradient checkpointing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze

from automodels.errors import CheckpointMismatchError, InputError
from flax_bert import BertConfig, FlaxBertForSequenceClassification, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = jnp.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY), seed=1)


def loss(model, params, **options):
    return (model(IDS, params=params, **options).last_hidden_state ** 2 * jnp.arange(12.0)[None, None]).mean()


def with_leaf(params, path, leaf):
    """The tree with one leaf replaced, added, or (None) left out."""
    first, *rest = path.split(".")
    if rest:
        return {**params, first: with_leaf(params.get(first, {}), ".".join(rest), leaf)}
    return {key: value for key, value in {**params, first: leaf}.items() if value is not None}


def test_a_call_inside_jit_computes_what_it_computes_outside(model):
    inside = jax.jit(lambda params, ids: model(ids, params=params))(model.params, IDS)

    assert type(inside) is type(model(IDS))
    np.testing.assert_allclose(inside.last_hidden_state, model(IDS).last_hidden_state, atol=1e-6)


def test_gradients_have_the_form_of_the_parameters(model):
    plain = jax.grad(lambda params: loss(model, params))(model.params)
    frozen = jax.jit(jax.grad(lambda params: loss(model, params)))(freeze(model.params))

    assert jax.tree.structure(plain) == jax.tree.structure(model.params)
    assert type(frozen) is type(freeze({}))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(frozen), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(plain["encoder"]["layer"]["0"]["attention"]["self"]["query"]["kernel"]).max()) > 0


def test_vmap_runs_over_inputs_and_over_parameters(model):
    other = jax.tree.map(lambda leaf: leaf * 1.1, model.params)
    several = jax.tree.map(lambda *leaves: jnp.stack(leaves), model.params, other)

    by_row = jax.vmap(lambda ids: model(ids[None]).last_hidden_state[0])(IDS)
    by_tree = jax.vmap(lambda params: loss(model, params))(several)
    by_key = jax.vmap(lambda key: loss(model, None, train=True, dropout_rng=key))(
        jax.random.split(jax.random.key(0), 3)
    )

    np.testing.assert_allclose(by_row, model(IDS).last_hidden_state, atol=1e-6)
    np.testing.assert_allclose(by_tree, [loss(model, model.params), loss(model, other)], rtol=1e-5)
    assert len(np.unique(by_key)) == 3


def test_parameters_can_be_donated_step_after_step(model):
    def step(params):
        gradients = jax.grad(lambda params: loss(model, params))(params)
        return jax.tree.map(lambda leaf, gradient: leaf - 0.1 * gradient, params, gradients)

    compiled = jax.jit(step, donate_argnums=0)
    params = first = jax.tree.map(jnp.copy, model.params)

    for _ in range(3):
        params = compiled(params)

    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    expected = step(step(step(model.params)))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert model(IDS, params=params).last_hidden_state.shape == (2, 5, 12)


@pytest.mark.parametrize("around", [lambda call: call, jax.jit, jax.grad, jax.vmap])
@pytest.mark.parametrize(
    ("path", "leaf", "said"),
    [
        ("pooler.dense.bias", None, "missing: pooler.dense.bias"),
        ("encoder.layer.2.output.dense.bias", jnp.zeros(12), "not in the model: encoder.layer.2.output.dense.bias"),
        ("pooler.dense.bias", jnp.zeros(11), r"pooler.dense.bias has shape \[11\], not \[12\]"),
        ("pooler.dense.bias", {"deep": jnp.zeros(12)}, "not in the model: pooler.dense.bias.deep"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused_with_paths_when_the_call_is_traced(model, around, path, leaf, said):
    params = with_leaf(model.params, path, leaf)
    if around is jax.vmap:
        params = jax.tree.map(lambda leaf: leaf[None], params)

    with pytest.raises(CheckpointMismatchError, match=said):
        around(lambda params: loss(model, params))(params)


def test_whole_numbers_are_no_parameters(model):
    params = with_leaf(model.params, "pooler.dense.bias", jnp.zeros(12, jnp.int32))

    with pytest.raises(CheckpointMismatchError, match="pooler.dense.bias holds int32, not floating-point numbers"):
        model(IDS, params=params)
    with pytest.raises(CheckpointMismatchError, match="pooler.dense.bias holds int32"):
        model.params = params


def test_the_setter_refuses_leaves_that_the_model_does_not_have(model):
    with pytest.raises(CheckpointMismatchError) as raised:
        model.params = with_leaf(model.params, "cls.bias", jnp.zeros(3))

    assert raised.value.trace == ("cls.bias",)


def test_a_tree_is_checked_once_for_each_program_and_not_at_every_call():
    model = FlaxBertModel(BertConfig(**TINY))

    for _ in range(3):
        model(IDS, params=jax.tree.map(jnp.copy, model.params))
        model(IDS, train=True, dropout_rng=jax.random.key(0))

    assert model._run._cache_size() == 2


def test_keys_of_both_styles_drop_the_same(model):
    new = model(IDS, train=True, dropout_rng=jax.random.key(5)).last_hidden_state
    old = model(IDS, train=True, dropout_rng=jax.random.PRNGKey(5)).last_hidden_state
    inside = jax.jit(lambda key: model(IDS, train=True, dropout_rng=key).last_hidden_state)(jax.random.PRNGKey(5))

    np.testing.assert_array_equal(new, old)
    np.testing.assert_allclose(inside, old, atol=1e-6)
    assert not np.array_equal(new, model(IDS).last_hidden_state)


@pytest.mark.parametrize("rng", [0, np.float32(1), jnp.zeros(2), jnp.zeros(5, jnp.uint32)])
def test_what_is_no_key_is_refused(model, rng):
    with pytest.raises(InputError, match="dropout_rng is .*not a random key"):
        model.apply({"input_ids": IDS}, train=True, dropout_rng=rng)


def test_training_without_a_key_is_refused_inside_jit_as_well(model):
    with pytest.raises(InputError, match="train=True needs a key"):
        jax.jit(lambda params: model(IDS, params=params, train=True)[0])(model.params)


def test_gradient_checkpointing_changes_no_result():
    plain = FlaxBertForSequenceClassification(BertConfig(**TINY), seed=1)
    saving = FlaxBertForSequenceClassification(BertConfig(**TINY), seed=1, gradient_checkpointing=True)
    key = jax.random.key(3)

    def value_and_gradient(model):
        return jax.value_and_grad(
            lambda params: model(IDS, params=params, train=True, dropout_rng=key).logits.var()
        )(model.params)  # fmt: skip

    (value, gradient), (saved_value, saved_gradient) = value_and_gradient(plain), value_and_gradient(saving)

    np.testing.assert_allclose(saved_value, value, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(saved_gradient), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gradient_checkpointing_keeps_less_and_can_be_switched():
    model = FlaxBertModel(BertConfig(**TINY))
    ids = jnp.zeros((8, 16), jnp.int32)

    def bytes_kept():
        _, pullback = jax.vjp(lambda params: model(ids, params=params).last_hidden_state, model.params)
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pullback))  # what the backward pass will need

    plain = bytes_kept()
    model.enable_gradient_checkpointing()
    on, less = model.is_gradient_checkpointing, bytes_kept()
    model.disable_gradient_checkpointing()

    assert on
    assert not model.is_gradient_checkpointing
    assert less < 0.5 * plain
    assert bytes_kept() == plain
