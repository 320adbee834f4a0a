"""Beam search and beam sampling in PyTorch against the plain reference."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from generation_models import PROMPTS, Options, V, generated, left_padded, new_tokens, oracle, reference, tiny  # noqa: E402

from torch_runtime.generation.drawing import Draws  # noqa: E402

SEED = 7
# For each case what generate is given, and what the reference is given; `ends` are tokens that beams come by.
CASES = {
    "beams": ({}, {}),
    "ends": (dict(), dict()),
    "ends early": (dict(early_stopping=True), dict(early_stopping=True)),
    "never early": (dict(early_stopping="never"), dict(early_stopping="never")),
    "short ones favoured": (dict(length_penalty=-1.5), dict(length_penalty=-1.5)),
    "long ones favoured": (dict(length_penalty=2.5), dict(length_penalty=2.5)),
    "no length counts": (dict(length_penalty=0.0), dict(length_penalty=0.0)),
    "never early, long ones favoured": (
        dict(early_stopping="never", length_penalty=1.5),
        dict(early_stopping="never", length_penalty=1.5),
    ),
    "least length": (dict(min_new_tokens=4), dict(least=4)),
    "no repeats": (
        dict(no_repeat_ngram_size=2, repetition_penalty=1.3),
        dict(no_repeat_ngram_size=2, repetition_penalty=1.3),
    ),
    "forced ends": (
        dict(forced_eos_token_id=10, forced_bos_token_id=7),
        dict(forced_eos=(10,), forced_bos_token_id=7),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def logits(model):
    return oracle(model)


@pytest.fixture(scope="module")
def ends(logits):
    """Two tokens that the best beams have in their middle."""
    free = [reference.beams(logits, prompt, Options(new=8, num_beams=3))[0].new for prompt in PROMPTS]
    return (free[0][2], free[1][4])


def check(model, logits, options, expected, *, noise=None):
    """generate gives for every row of a padded batch the sequences and scores that the reference gives for it alone."""
    batch = left_padded(PROMPTS)
    found = generated(
        model, **batch, max_new_tokens=expected.new, num_beams=expected.num_beams,
        num_return_sequences=expected.num_return_sequences, **options,
    )  # fmt: skip

    new = new_tokens(found, batch["input_ids"].shape[1])
    wanted = [
        beam
        for row, prompt in enumerate(PROMPTS)
        for beam in reference.beams(logits, prompt, expected, None if noise is None else noise(row))
    ]
    assert new == [beam.new for beam in wanted]
    np.testing.assert_allclose(found.sequences_scores, [beam.score for beam in wanted], rtol=1e-4, atol=1e-4)
    return new


def case(name, ends):
    options, expected = CASES[name]
    with_ends = name != "beams"
    return (
        {**options, **(dict(eos_token_id=list(ends)) if with_ends else {})},
        Options(**{"new": 8, "num_beams": 3, "num_return_sequences": 3, "ends": ends if with_ends else (), **expected}),
    )


@pytest.mark.parametrize("name", CASES)
def test_beams_are_those_of_the_reference(model, logits, ends, name):
    options, expected = case(name, ends)

    check(model, logits, options, expected)


def test_the_cases_differ_and_end_at_different_lengths(logits, ends):
    found = {
        name: [[beam.new for beam in reference.beams(logits, prompt, case(name, ends)[1])] for prompt in PROMPTS]
        for name in CASES
    }

    assert len({str(sequences) for sequences in found.values()}) >= len(CASES) - 4
    assert len({len(new) for row in found["ends"] for new in row}) > 2


def test_two_beams_find_what_greedy_decoding_does_not(model, logits):
    greedy = [reference.single(logits, prompt, Options(new=8))[0] for prompt in PROMPTS]

    found = check(model, logits, {}, Options(new=8, num_beams=2))

    assert found != greedy


def test_without_a_cache_beams_are_the_same(model, logits, ends):
    check(model, logits, dict(use_cache=False, eos_token_id=list(ends)), Options(new=8, num_beams=3, ends=ends))


def noise_of(row):
    """The noise of a row's steps, as its own numbers make it."""
    draws = Draws([(SEED, 0, row)], 1, 6, torch.device("cpu"))
    return lambda step: draws.gumbel(3 * V)[0].numpy()


@pytest.mark.parametrize(
    "options",
    [{}, dict(temperature=1.7), dict(top_k=20), dict(top_p=0.97), dict(temperature=1.5, min_p=0.01)],
    ids=str,
)
def test_beam_sampling_draws_what_the_reference_draws_with_the_same_noise(model, logits, ends, options):
    expected = Options(new=6, num_beams=3, num_return_sequences=2, ends=ends, sample=True, **options)
    given = dict(do_sample=True, seed=SEED, eos_token_id=list(ends), **{"top_k": 0, **options})

    check(model, logits, given, expected, noise=noise_of)


def test_the_scores_of_beams_and_where_they_come_from_add_up(model, ends):
    result = generated(
        model, **left_padded(PROMPTS), max_new_tokens=6, num_beams=3, num_return_sequences=2,
        eos_token_id=list(ends), output_scores=True, length_penalty=0.5,
    )  # fmt: skip

    origins, lengths = result.beam_indices, result.lengths.tolist()
    new = result.sequences[:, -origins.shape[1] :]
    assert result.scores[0].shape == (9, V)
    for row, length in enumerate(lengths):
        total = sum(result.scores[step][origins[row, step], new[row, step]] for step in range(length))
        np.testing.assert_allclose(result.sequences_scores[row], total / length**0.5, rtol=1e-4)
        assert (origins[row, length:] == -1).all()
        assert (origins[row, :length] // 3 == row // 2).all()


def test_a_beam_ends_where_the_caller_says(model, logits):
    def stops(ids, scores):
        return ids[:, -1] % 5 == 0

    expected = Options(new=8, num_beams=3, num_return_sequences=3, stops=lambda tokens: tokens[-1] % 5 == 0)

    check(model, logits, dict(stopping_criteria=[stops]), expected)


def test_time_that_is_up_ends_all_beams(model):
    result = generated(
        model, torch.tensor([PROMPTS[0]]), num_beams=3, num_return_sequences=3, max_new_tokens=30, max_time=1e-6
    )

    assert result.lengths.tolist() == [1, 1, 1]
    assert (result.sequences_scores > -100).all()


def test_the_scores_of_the_model_itself_are_returned_for_each_beam(model, logits):
    result = generated(
        model, torch.tensor([PROMPTS[0]]), max_new_tokens=3, num_beams=3, repetition_penalty=2.0, output_logits=True
    )

    assert result.scores is None
    assert [tuple(step.shape) for step in result.logits] == [(3, V)] * 3
    for beam in range(3):
        np.testing.assert_allclose(result.logits[0][beam], logits(PROMPTS[0]), rtol=1e-4, atol=1e-4)
    tokens, origins = result.sequences[0].tolist(), result.beam_indices[0].tolist()
    for step in range(3):
        expected = logits(tokens[: len(PROMPTS[0]) + step])
        np.testing.assert_allclose(result.logits[step][origins[step]], expected, rtol=1e-4, atol=1e-4)
