"""A load while somebody saves other models into the same directory gives one of them, never a mixture."""

from __future__ import annotations

import threading
import time

import jax
import numpy as np
import pytest

from automodels import AutoModel
from flax_bert import BertConfig, FlaxBertModel

TINY = {"vocab_size": 17, "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 8}


@pytest.mark.parametrize("model_class", [AutoModel, FlaxBertModel])
def test_every_load_is_one_of_the_models_that_are_saved_meanwhile(tmp_path, model_class):
    # The same names and shapes, so that nothing but the pairing of config and weights can tell one from the other.
    models = [
        FlaxBertModel(BertConfig(**TINY, hidden_size=8, num_attention_heads=heads), seed=heads) for heads in (1, 2)
    ]
    expected = {model.config.num_attention_heads: np.asarray(first_leaf(model)) for model in models}
    models[0].save_pretrained(tmp_path)
    done = threading.Event()
    seconds = [0.05]  # of each load

    def save() -> None:
        number = 0
        while not done.is_set():
            number += 1
            models[number % 2].save_pretrained(tmp_path)
            # However busy the machine is, one of five attempts to load must find a moment without a save.
            time.sleep(6 * max(seconds[-3:]) if number % 3 == 0 else 0.01)

    def load() -> FlaxBertModel:
        started = time.perf_counter()
        model = model_class.from_pretrained(tmp_path)
        seconds.append(time.perf_counter() - started)
        return model

    saving = threading.Thread(target=save)
    saving.start()
    try:
        loaded = [load() for _ in range(12)]
    finally:
        done.set()
        saving.join()

    for model in loaded:
        np.testing.assert_array_equal(first_leaf(model), expected[model.config.num_attention_heads])


def first_leaf(model) -> jax.Array:
    return model.params["embeddings"]["word_embeddings"]["embedding"]
