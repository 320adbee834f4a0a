"""The language model in examples/tiny-lm, and the script that trained it."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from pydoc_data import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from automodels import AutoModelForCausalLM, AutoTokenizer
from automodels.checkpoint.verify import verify

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = EXAMPLES / "tiny-lm"
SENTENCES = (
    "This function returns the name of the file that was opened, or None if there is no such file.",
    "If the object is not a string, an exception is raised and the value of the argument is not changed.",
    "The default is to read all of the lines of the file, so that a new list is returned.",
)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def card():
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def nats(model, tokenizer, text):
    """For each token of a text the negative logarithm of its probability, [T]."""
    ids = jnp.array([[tokenizer.eos_token_id, *tokenizer.encode(text)]])
    return optax.softmax_cross_entropy_with_integer_labels(model(ids[:, :-1]).logits, ids[:, 1:])[0]


def words_of(text):
    return re.findall(r"[a-z]+", text.lower())


def test_it_is_a_sound_checkpoint_in_several_shards_of_at_most_3_megabytes():
    found = verify(FOLDER, finite=True)

    assert found.defects == ()
    assert len(list(FOLDER.glob("model-*.safetensors"))) > 1
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 3_000_000


def test_it_has_about_a_million_parameters_and_says_how_many(model, card):
    assert 0.9e6 < model.num_parameters() < 1.2e6
    assert f"a GPT-Neo of {model.num_parameters():,} parameters" in card


def test_english_is_likelier_than_the_same_words_in_another_order(model, tokenizer):
    numbers = np.random.default_rng(0)

    for sentence in SENTENCES:
        mixed = " ".join(numbers.permutation(sentence.split()))
        assert nats(model, tokenizer, sentence).sum() + 10 < nats(model, tokenizer, mixed).sum()


def test_prose_of_this_python_is_about_as_likely_as_the_card_says(model, tokenizer, card, monkeypatch):
    """Most of it was trained on, where this Python is the one that the card names; where it is another, less."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from python_prose import documents

    training, validation = (float(said) for said in re.findall(r"loss \| (\S+) nats a token", card))
    length = model.config.max_position_embeddings
    rows = [tokenizer.encode(text[: 8 * length])[: length + 1] for text in documents().values()]
    ids = jnp.array([row for row in rows if len(row) > length][::4])

    logits = model(ids[:, :-1]).logits
    found = float(optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]).mean())

    assert training - 0.3 < found < validation + 0.3


def test_what_it_writes_are_english_words(model, tokenizer):
    known = {word for text in topics.topics.values() for word in words_of(text)}
    prompt = tokenizer.encode("The return value is")
    ids = jnp.array([prompt] * 8)

    sequences = model.generate(ids, prng_key=jax.random.split(jax.random.key(0), 8)).sequences

    written = [word for row in sequences for word in words_of(tokenizer.decode(row, skip_special_tokens=True))]
    assert len(written) > 150
    assert sum(word in known for word in written) > 0.8 * len(written)


def test_the_script_trains_and_writes_a_folder_that_can_be_used(tmp_path):
    script = str(EXAMPLES / "train_tiny_lm.py")
    few = ("--steps", "3", "--documents", "60", "--characters", "1500")

    process = subprocess.run(
        [sys.executable, script, *few, "--out", str(tmp_path / "lm")], capture_output=True, text=True, check=False
    )

    assert process.returncode == 0, process.stderr
    losses = [float(loss) for loss in re.findall(r"validation (\d\.\d+)", process.stdout)]
    assert losses[0] == pytest.approx(math.log(2048), abs=0.1)
    assert losses[-1] < losses[0] - 0.1
    assert verify(tmp_path / "lm", finite=True).defects == ()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "lm")
    ids = tokenizer.encode("This method")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "lm")
    assert model.generate([ids], max_new_tokens=3, prng_key=jax.random.key(0)).sequences.shape == (1, len(ids) + 3)
    assert "3 of 3" in (tmp_path / "lm" / "README.md").read_text(encoding="utf-8")
