"""Models from the Hub and to it: the real client against a Hub on this machine."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from automodels import AutoModel, AutoModelForSentenceEmbedding
from automodels.errors import InputError, UnknownArgumentError
from flax_bert import BertConfig, FlaxBertModel

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use .content=:DeprecationWarning")  # of the client's own requests

TINY = dict(vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20)


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY), seed=3)


TOKEN = "hf_tests"


@pytest.fixture
def logged_in(fake_hub, monkeypatch):
    """The fake Hub, with somebody logged in."""
    fake_hub.tokens = {TOKEN: set()}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return fake_hub


def files_of(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_name_on_the_hub_gives_the_model_and_only_the_files_it_needs(fake_hub, model, tmp_path):
    model.save_pretrained(tmp_path / "saved", max_shard_size=4000)
    more = {"pytorch_model.bin": b"not wanted", "flax_model.msgpack": b"not wanted", "README.md": b"# Tiny"}
    fake_hub.add("someone/tiny-bert", {**files_of(tmp_path / "saved"), **more})

    loaded = AutoModel.from_pretrained("someone/tiny-bert")

    same(loaded.params, model.params)
    fetched = " ".join(fake_hub.asked(path="/resolve/"))
    assert "model-00001-of" in fetched
    assert "pytorch_model" not in fetched
    assert "msgpack" not in fetched
    assert "README" not in fetched


def test_what_is_pushed_comes_back(logged_in, model):
    pushed = model.push_to_hub("someone/pushed", commit_message="First", tags=["tiny"], max_shard_size=5000)

    loaded = AutoModel.from_pretrained("someone/pushed", revision=pushed.commit)

    same(loaded.params, model.params)
    assert loaded.load_report.source == "someone/pushed"
    assert len(loaded.load_report.files) > 1


def test_saving_and_pushing_in_one_call(logged_in, model, tmp_path):
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="someone/mine", commit_message="Saved")

    same(AutoModel.from_pretrained("someone/mine").params, model.params)


def test_wrong_arguments_are_refused_before_anything_is_saved(fake_hub, model, tmp_path):
    with pytest.raises(UnknownArgumentError, match="'comit_message'; did you mean 'commit_message'"):
        model.save_pretrained(tmp_path / "new", push_to_hub=True, comit_message="x")
    with pytest.raises(InputError, match="cannot be the name of a model on the Hub"):
        model.push_to_hub("../../etc")

    assert not (tmp_path / "new").exists()
    assert fake_hub.asked("POST") == []


def test_a_sentence_embedding_folder_on_the_hub(logged_in, minilm):
    local = AutoModelForSentenceEmbedding.from_pretrained(minilm)
    local.push_to_hub("someone/minilm")

    loaded = AutoModelForSentenceEmbedding.from_pretrained("someone/minilm")

    np.testing.assert_array_equal(loaded.encode("A man is eating food."), local.encode("A man is eating food."))
    assert loaded.settings == local.settings
