"""Settings of a sentence-transformers folder that change vectors, through the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from automodels import AutoModelForSentenceEmbedding
from automodels.errors import UnsupportedConfigError

TINY = Path(__file__).parents[1] / "golden" / "bert" / "odd"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", ":", "a", "man", "eats"]


@pytest.fixture
def folder(tmp_path):
    """A tiny sentence-transformers folder, with `write` for its JSON files."""
    target = tmp_path / "tiny"
    shutil.copytree(TINY, target)
    (target / "vocab.txt").write_text("\n".join([*WORDS, *(f"w{n}" for n in range(37 - len(WORDS)))]) + "\n")
    write(target / "tokenizer_config.json", {"do_lower_case": True, "model_max_length": 9})
    pooling = {"word_embedding_dimension": 20, "pooling_mode_mean_tokens": True}
    write(target / "1_Pooling" / "config.json", pooling)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    write(target / "modules.json", modules)
    return target


def write(file, content):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def test_without_a_limit_of_its_own_the_folder_has_the_tokenizers(folder):
    model = AutoModelForSentenceEmbedding.from_pretrained(folder)

    assert model.max_seq_length == 9
    np.testing.assert_array_equal(model.encode("man " * 20), model.encode("man " * 30))


def test_the_folders_limit_is_cut_to_the_positions_that_the_model_has(folder):
    write(folder / "sentence_bert_config.json", {"max_seq_length": 512})

    assert AutoModelForSentenceEmbedding.from_pretrained(folder).max_seq_length == 16


def test_a_default_prompt_stands_before_every_text(folder):
    plain = AutoModelForSentenceEmbedding.from_pretrained(folder).encode(["query: a man", "a man"])
    write(
        folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    )

    model = AutoModelForSentenceEmbedding.from_pretrained(folder)

    np.testing.assert_allclose(model.encode("a man"), plain[0], atol=1e-6)
    np.testing.assert_allclose(model.encode("a man", prompt=""), plain[1], atol=1e-6)


def test_vectors_are_cut_where_the_folder_says_so(folder):
    full = AutoModelForSentenceEmbedding.from_pretrained(folder).encode(["a man", "eats"])
    write(folder / "config_sentence_transformers.json", {"truncate_dim": 7})

    cut = AutoModelForSentenceEmbedding.from_pretrained(folder).encode(["a man", "eats"])

    assert cut.shape == (2, 7)
    np.testing.assert_allclose(cut, full[:, :7], atol=1e-6)


def test_pooling_made_for_another_width_is_refused(folder):
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 21, "pooling_mode_mean_tokens": True})

    with pytest.raises(UnsupportedConfigError, match="vectors of 21, the model has 20"):
        AutoModelForSentenceEmbedding.from_pretrained(folder)
