"""Training: with optax over parameters, and with nnx.Optimizer over the live module; both end in `model.params`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from automodels import AutoModelForSequenceClassification
from automodels.errors import CheckpointMismatchError
from flax_bert import BertConfig, FlaxBertForSequenceClassification, FlaxBertModel
from flax_runtime import parameters_of

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
STEPS = 40


@pytest.fixture(scope="module")
def examples():
    """Sequences, and whether token 7 is among them."""
    numbers = np.random.default_rng(0)
    ids = numbers.integers(8, 31, (64, 8))
    labels = np.arange(64) % 2
    ids[labels == 1, numbers.integers(1, 8, 32)] = 7
    return jnp.asarray(ids), jnp.asarray(labels)


@pytest.fixture
def model():
    return FlaxBertForSequenceClassification(BertConfig(**TINY), seed=0)


def accuracy(model, examples):
    ids, labels = examples
    return float((model(ids).logits.argmax(-1) == labels).mean())


def test_a_fine_tune_with_optax_learns_and_is_kept(model, examples, tmp_path):
    ids, labels = examples
    optimizer = optax.adamw(1e-2)

    @jax.jit
    def step(params, state, key):
        def loss(params):
            logits = model(ids, params=params, dropout_rng=key, train=True).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    params, state, losses = model.params, optimizer.init(model.params), []
    before = jax.tree.map(np.array, model.params)
    for key in jax.random.split(jax.random.key(0), STEPS):
        params, state, value = step(params, state, key)
        losses.append(float(value))

    jax.tree.map(np.testing.assert_array_equal, model.params, before)
    model.params = params
    model.save_pretrained(tmp_path)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert accuracy(model, examples) > 0.9
    assert accuracy(AutoModelForSequenceClassification.from_pretrained(tmp_path), examples) == accuracy(model, examples)


def test_a_fine_tune_of_the_live_module_learns_and_comes_back(model, examples):
    ids, labels = examples
    module = model.module
    optimizer = nnx.Optimizer(module, optax.adamw(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer, key):
        def loss(module):
            logits = module(ids, dropout_rng=key).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradients = nnx.value_and_grad(loss)(module)
        optimizer.update(module, gradients)
        return value

    untrained = accuracy(model, examples)
    losses = [float(step(module, optimizer, key)) for key in jax.random.split(jax.random.key(0), STEPS)]
    meanwhile = accuracy(model, examples)
    model.params = parameters_of(module)

    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert meanwhile == untrained
    assert accuracy(model, examples) > 0.9
    np.testing.assert_allclose(model(ids).logits, module(ids).logits, atol=1e-5)


def test_both_ways_take_the_same_steps(examples):
    model = FlaxBertForSequenceClassification(BertConfig(**TINY, hidden_dropout_prob=0.0), seed=0)
    ids, labels = examples

    def loss_of(logits):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    gradients = jax.grad(lambda params: loss_of(model(ids, params=params).logits))(model.params)
    module = model.module
    live = nnx.grad(lambda module: loss_of(module(ids).logits))(module)

    live_tree = jax.tree.leaves(nnx.to_pure_dict(live))
    assert sum(leaf.size for leaf in live_tree) == model.num_parameters()
    np.testing.assert_allclose(
        sorted(float(jnp.abs(leaf).sum()) for leaf in live_tree),
        sorted(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(gradients)),
        rtol=1e-4,
        atol=1e-6,
    )


def test_the_parameters_of_a_module_are_the_models_tree(model):
    tree = parameters_of(model.module)

    assert jax.tree.structure(tree) == jax.tree.structure(model.params)
    jax.tree.map(np.testing.assert_array_equal, tree, model.params)


def test_the_parameters_of_another_module_are_refused(model):
    other = FlaxBertModel(BertConfig(**TINY))

    with pytest.raises(CheckpointMismatchError, match="missing: bert.embeddings"):
        model.params = parameters_of(other.module)
