"""Texts in PyTorch: streams of them, texts that end a sequence, and options that are saved with a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from generation_models import Options, generated, left_padded, new_tokens, oracle, reference, tiny  # noqa: E402

from automodels import AutoTokenizer  # noqa: E402
from automodels.errors import UnsupportedConfigError  # noqa: E402
from automodels.generation import GenerationConfig  # noqa: E402
from torch_heads import OPTForCausalLM  # noqa: E402

BPE = Path(__file__).parents[1] / "golden" / "bpe"
PROMPTS = ["The first", "a", "wonderful "]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(BPE)


@pytest.fixture(scope="module")
def model(tokenizer):
    return tiny(vocab_size=len(tokenizer) + 3, max_position_embeddings=64, init_std=0.4)


def test_pieces_of_text_are_together_the_text(model, tokenizer):
    ids = tokenizer.encode(PROMPTS[0])
    whole = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=int), max_new_tokens=24)

    pieces = list(model.stream_text(PROMPTS[0], tokenizer, max_new_tokens=24))

    known = [index for index in whole[0, len(ids) :].tolist() if index < len(tokenizer)]
    assert "".join(pieces) == tokenizer.decode(known, skip_special_tokens=True)
    assert len(pieces) > 2


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_ends_a_sequence_with_the_token_that_completes_it(model, tokenizer, beams):
    batch = left_padded([tokenizer.encode(prompt) for prompt in PROMPTS])
    width = batch["input_ids"].shape[1]
    options = dict(tokenizer=tokenizer, max_new_tokens=24, num_beams=beams)
    free = new_tokens(generated(model, **batch, **options), width)
    # Texts that lie across tokens, the second one begun by a prompt; bytes that are no text are no part of them.
    stops = [straddling(tokenizer, free[0][2:]), straddling(tokenizer, [*tokenizer.encode(PROMPTS[1]), *free[1]])]

    def ends(tokens):
        text, before = tokenizer.decode(tokens), tokenizer.decode(tokens[:-1])
        return any(text.count(stop) > before.count(stop) for stop in stops)

    found = new_tokens(generated(model, **batch, stop_strings=stops, **options), width)

    logits = oracle(model)
    wanted = Options(new=24, num_beams=beams, stops=ends)
    for row, prompt in enumerate(PROMPTS):
        ids = tokenizer.encode(prompt)
        single = reference.single(logits, ids, wanted)[0] if beams == 1 else reference.beams(logits, ids, wanted)[0].new
        assert found[row] == single
    assert min(len(new) for new in found) < 24


def straddling(tokenizer, tokens):
    """A text that begins inside one token and ends inside another."""
    pairs = [(tokenizer.decode(tokens[at : at + 1]), tokenizer.decode(tokens[at + 1 : at + 2])) for at in range(20)]
    return next(f"{one[-1]}{two[0]}" for one, two in pairs if one and two and "\ufffd" not in one + two)


def test_options_are_saved_with_a_model_and_loaded_again(tmp_path):
    model = tiny()
    model.generation_config = GenerationConfig(max_new_tokens=5, repetition_penalty=1.4)
    model.save_pretrained(tmp_path)

    loaded = OPTForCausalLM.from_pretrained(tmp_path)

    assert json.loads((tmp_path / "generation_config.json").read_text()) == {
        "max_new_tokens": 5,
        "repetition_penalty": 1.4,
    }
    assert loaded.generate([[3, 4]]).tolist() == model.generate([[3, 4]]).tolist()
    assert loaded.generate([[3, 4]]).shape == (1, 7)


def test_saved_options_that_cannot_be_obeyed_stop_generation_and_not_loading(tmp_path):
    tiny().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"num_beam_groups": 3, "num_beams": 3}')

    model = OPTForCausalLM.from_pretrained(tmp_path)

    assert model(torch.tensor([[3, 4]])).logits.shape == (1, 2, 31)
    with pytest.raises(UnsupportedConfigError, match="num_beam_groups is 3"):
        model.generate([[3, 4]])
    model.generation_config = GenerationConfig(max_new_tokens=2)
    assert model.generate([[3, 4]]).shape == (1, 4)
