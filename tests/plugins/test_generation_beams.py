"""Beam search and beam sampling against the plain reference, which follows one prompt at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("generation_reference", Path(__file__).parent / "generation_reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
Options, PROMPTS = reference.Options, reference.PROMPTS
KEY = jax.random.key(11)
V = 31
ENDS = (10, 16, 13)  # occur early in the greedy continuations

CASES = {
    "plain": ({}, {}),
    "an end": (dict(eos_token_id=10), dict(ends=(10,))),
    "ends": (dict(eos_token_id=list(ENDS)), dict(ends=ENDS)),
    "long ones favoured": (dict(eos_token_id=list(ENDS), length_penalty=2.5), dict(ends=ENDS, length_penalty=2.5)),
    "short ones favoured": (dict(eos_token_id=list(ENDS), length_penalty=-1.0), dict(ends=ENDS, length_penalty=-1.0)),
    "lengths do not count": (dict(eos_token_id=list(ENDS), length_penalty=0.0), dict(ends=ENDS, length_penalty=0.0)),
    "early": (dict(eos_token_id=list(ENDS), early_stopping=True), dict(ends=ENDS, early_stopping=True)),
    "never early": (dict(eos_token_id=list(ENDS), early_stopping="never"), dict(ends=ENDS, early_stopping="never")),
    "never early, long ones favoured": (
        dict(eos_token_id=list(ENDS), early_stopping="never", length_penalty=1.5),
        dict(ends=ENDS, early_stopping="never", length_penalty=1.5),
    ),
    "least length": (dict(eos_token_id=list(ENDS), min_new_tokens=4), dict(ends=ENDS, least=4)),
    "no repeats": (
        dict(eos_token_id=10, no_repeat_ngram_size=2, repetition_penalty=1.3),
        dict(ends=(10,), no_repeat_ngram_size=2, repetition_penalty=1.3),
    ),
    "forced ends": (
        dict(eos_token_id=10, forced_eos_token_id=10, forced_bos_token_id=7),
        dict(ends=(10,), forced_eos=(10,), forced_bos_token_id=7),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """What is compared here does not depend on it; test_generation.py compiles as users do."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def model():
    return reference.tiny()


@pytest.fixture(scope="module")
def logits(model):
    return reference.oracle(model)


def check(model, logits, options, expected, *, noise=None):
    """generate gives for every row of a padded batch the sequences and scores that the reference gives for it alone."""
    batch = reference.left_padded(PROMPTS)
    found = model.generate(
        **batch, max_new_tokens=expected.new, num_beams=expected.num_beams,
        num_return_sequences=expected.num_return_sequences, **options,
    )  # fmt: skip

    new = reference.new_tokens(found, batch["input_ids"].shape[1])
    wanted = [
        beam
        for row, prompt in enumerate(PROMPTS)
        for beam in reference.beams(logits, prompt, expected, None if noise is None else noise(row))
    ]
    assert new == [beam.new for beam in wanted]
    np.testing.assert_allclose(found.sequences_scores, [beam.score for beam in wanted], rtol=1e-4, atol=1e-4)
    return new


@pytest.mark.parametrize("name", CASES)
def test_beams_are_those_of_the_reference(model, logits, name):
    options, expected = CASES[name]
    expected = Options(**{"new": 8, "num_beams": 3, "num_return_sequences": 3, **expected})

    check(model, logits, options, expected)


def test_the_cases_differ_and_end_at_different_lengths(logits):
    several = {"new": 8, "num_beams": 3, "num_return_sequences": 3}
    found = {
        name: [
            [beam.new for beam in reference.beams(logits, prompt, Options(**{**several, **expected}))]
            for prompt in PROMPTS
        ]
        for name, (_, expected) in CASES.items()
    }  # fmt: skip

    assert len({str(sequences) for sequences in found.values()}) >= len(CASES) - 3
    assert len({len(new) for row in found["ends"] for new in row}) > 2


def test_two_beams_find_what_greedy_decoding_does_not(model, logits):
    greedy = [reference.single(logits, prompt, Options(new=8))[0] for prompt in PROMPTS]

    found = check(model, logits, {}, Options(new=8, num_beams=2))

    assert found != greedy


@pytest.mark.parametrize(
    "options",
    [{}, dict(temperature=1.7), dict(top_k=20), dict(top_p=0.97), dict(temperature=1.5, min_p=0.01)],
    ids=str,
)
def test_beam_sampling_draws_what_the_reference_draws_with_the_same_noise(model, logits, options):
    expected = Options(new=6, num_beams=3, num_return_sequences=2, ends=(10,), sample=True, **options)
    given = dict(do_sample=True, prng_key=KEY, eos_token_id=10, **{"top_k": 0, **options})

    check(model, logits, given, expected, noise=lambda row: reference.noise_of(KEY, row, 3 * V))


def test_the_scores_of_beams_and_where_they_come_from_add_up(model):
    result = model.generate(
        **reference.left_padded(PROMPTS), max_new_tokens=6, num_beams=3, num_return_sequences=2, eos_token_id=[10, 16],
        output_scores=True, length_penalty=0.5,
    )  # fmt: skip

    scores, origins, lengths = np.asarray(result.scores), np.asarray(result.beam_indices), np.asarray(result.lengths)
    new = np.asarray(result.sequences)[:, -origins.shape[1] :]
    assert scores.shape[1:] == (9, V)
    for row, length in enumerate(lengths):
        total = sum(scores[step, origins[row, step], new[row, step]] for step in range(length))
        np.testing.assert_allclose(result.sequences_scores[row], total / length**0.5, rtol=1e-4)
        assert (origins[row, length:] == -1).all()
        assert (origins[row, :length] // 3 == row // 2).all()


def test_a_beam_ends_where_the_caller_says(model, logits):
    def stops(ids, scores, *, cur_len):
        last = jax.lax.dynamic_index_in_dim(ids, cur_len - 1, axis=1, keepdims=False)
        return last % 5 == 0

    expected = Options(new=8, num_beams=3, num_return_sequences=3, stops=lambda tokens: tokens[-1] % 5 == 0)

    check(model, logits, dict(stopping_criteria=[stops]), expected)


def test_functions_of_the_caller_change_the_scores_of_beams(model, logits):
    def less_for_what_was_last(ids, scores, *, cur_len):
        last = jax.lax.dynamic_index_in_dim(ids, cur_len - 1, axis=1, keepdims=False)
        return scores - 3.0 * (jnp.arange(V)[None] % 5 == last[:, None] % 5)

    def on_lists(tokens, scores):
        return scores - 3.0 * (np.arange(V) % 5 == tokens[-1] % 5)

    expected = Options(new=7, num_beams=3, num_return_sequences=2, custom=on_lists)

    found = check(model, logits, dict(logits_processor=[less_for_what_was_last]), expected)

    assert found != check(model, logits, {}, expected._replace(custom=None))


def test_the_scores_of_the_model_itself_are_returned_for_every_beam(model, logits):
    result = model.generate([PROMPTS[0]], max_new_tokens=4, num_beams=3, num_return_sequences=3, output_logits=True)

    new, origins = np.asarray(result.sequences)[:, 6:].tolist(), np.asarray(result.beam_indices)
    assert result.scores is None
    assert result.logits.shape[1:] == (3, V)
    for row in range(3):
        for step in range(4):
            expected = logits(PROMPTS[0] + new[row][:step])
            np.testing.assert_allclose(result.logits[step, origins[row, step]], expected, rtol=1e-4, atol=1e-4)


def test_time_that_is_up_ends_all_beams_with_one_more_token(model):
    result = model.generate([PROMPTS[0]], num_beams=3, num_return_sequences=3, max_new_tokens=30, max_time=1e-6)

    assert result.lengths.tolist() == [2, 2, 2]
    assert (np.asarray(result.sequences_scores) > -100).all()
