"""Pickling: a model goes to another process, or is copied, and computes the same."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels import AutoModelForSentenceEmbedding
from automodels.errors import InputError
from flax_bert import BertConfig, FlaxBertForMaskedLM, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(
        BertConfig(**TINY), (2, 8), 3, jnp.float32, param_dtype="bfloat16", gradient_checkpointing=True
    )


@pytest.mark.parametrize("again", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy])
def test_a_copy_is_the_same_model(model, again):
    model(IDS)  # compiled programs do not travel

    other = again(model)

    np.testing.assert_array_equal(other(IDS).last_hidden_state, model(IDS).last_hidden_state)
    assert (other.config, other.input_shape, other.seed) == (model.config, (2, 8), 3)
    assert (other.dtype, other.param_dtype) == (model.dtype, model.param_dtype)
    assert other.is_gradient_checkpointing
    assert other.backend_report.name == model.backend_report.name


def test_a_deep_copy_shares_nothing_that_changes(model):
    other = copy.deepcopy(model)

    other.config.num_labels = 7
    other.params = jax.tree.map(jnp.zeros_like, other.params)
    other.disable_gradient_checkpointing()

    assert model.config.num_labels == 2
    assert model.is_gradient_checkpointing
    assert float(jnp.abs(model.params["pooler"]["dense"]["kernel"]).max()) > 0


def test_a_resized_copy_leaves_the_original_alone():
    model = FlaxBertForMaskedLM(BertConfig(**TINY))
    other = copy.copy(model)

    other.resize_token_embeddings(40)

    assert other(IDS).logits.shape == (2, 5, 40)
    assert model(IDS).logits.shape == (2, 5, 31)


def test_a_model_without_parameters_stays_without():
    other = pickle.loads(pickle.dumps(FlaxBertModel(BertConfig(**TINY), _do_init=False)))

    with pytest.raises(InputError, match="_do_init=False"):
        _ = other.params


def test_a_loaded_model_takes_its_report_and_its_settings_along(minilm):
    model = AutoModelForSentenceEmbedding.from_pretrained(minilm)
    expected = model.encode("A man is eating food.")

    other = pickle.loads(pickle.dumps(model))

    assert str(other.load_report) == str(model.load_report)
    assert other.settings == model.settings
    np.testing.assert_array_equal(other.encode("A man is eating food."), expected)


def test_a_spawned_process_computes_with_a_pickled_model(model):
    context = multiprocessing.get_context("spawn")

    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        output = pool.submit(FlaxBertModel.__call__, model, IDS).result(timeout=240)

    np.testing.assert_allclose(output.last_hidden_state, model(IDS).last_hidden_state, atol=1e-6)
