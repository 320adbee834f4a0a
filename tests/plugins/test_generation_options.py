"""Every option of generation against the plain reference: the same tokens, and the same scores at every step."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("generation_reference", Path(__file__).parent / "generation_reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
Options, PROMPTS = reference.Options, reference.PROMPTS

KEY = jax.random.key(5)
V = 31
# For each option what generate is given, and what the reference is given; tokens are those that occur without it.
GREEDY = {
    "nothing": ({}, {}),
    "max_new_tokens": (dict(max_new_tokens=3), dict(new=3)),
    "one end": (dict(eos_token_id=10), dict(ends=(10,))),
    "several ends": (dict(eos_token_id=[10, 15, 19]), dict(ends=(10, 15, 19))),
    "min_new_tokens": (dict(eos_token_id=[10, 15, 19], min_new_tokens=5), dict(ends=(10, 15, 19), least=5)),
    "repetition_penalty": (dict(repetition_penalty=1.7), dict(repetition_penalty=1.7)),
    "repetition_penalty below 1": (dict(repetition_penalty=0.6), dict(repetition_penalty=0.6)),
    "no_repeat_ngram_size 1": (dict(no_repeat_ngram_size=1), dict(no_repeat_ngram_size=1)),
    "no_repeat_ngram_size 2": (dict(no_repeat_ngram_size=2), dict(no_repeat_ngram_size=2)),
    "no_repeat_ngram_size 3": (dict(no_repeat_ngram_size=3), dict(no_repeat_ngram_size=3)),
    "forced_bos_token_id": (dict(forced_bos_token_id=17), dict(forced_bos_token_id=17)),
    "forced_eos_token_id": (dict(forced_eos_token_id=18), dict(forced_eos=(18,))),
    "several forced ends": (dict(forced_eos_token_id=[18, 19]), dict(forced_eos=(18, 19))),
    "renormalize_logits": (dict(renormalize_logits=True), dict(renormalize=True)),
}
"""Options whose values do not depend on what the model generates; the others are made in the tests."""


@pytest.fixture(scope="module")
def model():
    return reference.tiny()


@pytest.fixture(scope="module")
def logits(model):
    return reference.oracle(model)


@pytest.fixture(scope="module")
def plain(logits):
    """New tokens of each prompt without any option."""
    return [reference.single(logits, prompt, Options(new=10))[0] for prompt in PROMPTS]


def check(model, logits, options, expected, *, noise=None):
    """generate gives for every row of a padded batch, and in every step, what the reference gives for it alone."""
    batch = reference.left_padded(PROMPTS)
    arguments = {"max_new_tokens": expected.new, "output_scores": True, **options}

    result = model.generate(**batch, **arguments)

    found = reference.new_tokens(result, batch["input_ids"].shape[1])
    for row, prompt in enumerate(PROMPTS):
        drawn = None if noise is None else noise(row)
        new, scores = reference.single(logits, prompt, expected, drawn)
        assert found[row] == new
        np.testing.assert_allclose(np.asarray(result.scores)[: len(new), row], scores, rtol=2e-4, atol=2e-4)
    return found


def differs(logits, expected):
    """Whether the option changes any prompt's tokens or scores."""
    for prompt in PROMPTS:
        without, before = reference.single(logits, prompt, Options(new=10))
        new, scores = reference.single(logits, prompt, expected)
        if new != without or not np.allclose(before, scores):
            return True
    return False


@pytest.mark.parametrize("name", GREEDY)
def test_an_option_does_what_the_reference_does(model, logits, name):
    options, expected = GREEDY[name]
    expected = Options(**{"new": 10, **expected})
    assert differs(logits, expected) == (name != "nothing")

    check(model, logits, options, expected)


def test_tokens_that_end_sequences_end_them(model, logits, plain):
    ends = sorted({plain[0][2], plain[1][4]})

    found = check(model, logits, dict(eos_token_id=ends), Options(new=10, ends=tuple(ends)))

    assert {len(new) for new in found} != {10}
    assert len(found[0]) <= 3


def test_a_sequence_does_not_end_before_the_least_length(model, logits, plain):
    ends = (plain[0][0], plain[1][0], plain[2][0])
    least = Options(new=10, ends=ends, least=4)

    found = check(model, logits, dict(eos_token_id=list(ends), min_new_tokens=4), least)

    assert all(len(new) >= 4 for new in found)


def test_a_least_length_with_the_prompt_counts_each_prompt_without_its_padding(model, logits, plain):
    ends = tuple(sorted({*plain[1][:6], plain[0][0], plain[2][0]}))

    def wanted(prompt, counted):
        return reference.single(logits, prompt, Options(new=10, ends=ends, least=8 - counted))[0]

    expected = [wanted(prompt, len(prompt)) for prompt in PROMPTS]
    assert expected != [wanted(prompt, 6) for prompt in PROMPTS], "padding counted too would be seen"

    found = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=10, eos_token_id=list(ends), min_length=8)

    assert reference.new_tokens(found, 6) == expected


def test_bad_words_of_one_and_of_several_tokens_do_not_occur(model, logits, plain):
    bad = [[plain[0][0]], plain[1][1:3], [PROMPTS[2][-1], plain[2][0]], [*PROMPTS[0], plain[0][1]]]
    expected = Options(new=10, bad_words_ids=bad)
    assert differs(logits, expected)

    found = check(model, logits, dict(bad_words_ids=bad), expected)

    assert all(bad[0][0] not in new for new in found)


def test_the_end_is_never_a_bad_word(model, logits, plain):
    end = plain[0][3]
    expected = Options(new=10, ends=(end,), bad_words_ids=[[end], [plain[1][0]]])

    check(model, logits, dict(eos_token_id=end, bad_words_ids=[[end], [plain[1][0]]]), expected)


def test_the_bias_of_a_sequence_is_added_where_it_would_be_completed(model, logits, plain):
    bias = [([plain[0][0]], -6.0), (plain[1][:2], -9.0), ([PROMPTS[2][-1], 2], 20.0), ([11], 1.5)]
    expected = Options(new=10, sequence_bias=bias)
    assert differs(logits, expected)

    check(model, logits, dict(sequence_bias={tuple(word): value for word, value in bias}), expected)


def test_suppressed_tokens_do_not_occur(model, logits, plain):
    tokens = [plain[0][0], plain[1][1]]
    expected = Options(new=10, suppress_tokens=tokens)
    assert differs(logits, expected)

    found = check(model, logits, dict(suppress_tokens=tokens), expected)

    assert not {token for new in found for token in new} & set(tokens)


@pytest.mark.parametrize("bos", [None, 17])
def test_tokens_suppressed_at_the_beginning_may_come_later(model, logits, plain, bos):
    tokens = [plain[0][0], plain[1][0], plain[1][1]]
    expected = Options(new=10, begin_suppress_tokens=tokens, forced_bos_token_id=bos)
    assert differs(logits, expected)

    check(model, logits, dict(begin_suppress_tokens=tokens, forced_bos_token_id=bos), expected)


def test_the_end_becomes_more_probable_behind_a_length(model, logits):
    end = int(np.argsort(logits(PROMPTS[0]))[5])
    expected = Options(new=10, ends=(end,), decay=(2, 1.6))
    assert differs(logits, expected)

    check(model, logits, dict(eos_token_id=end, exponential_decay_length_penalty=(2, 1.6)), expected)


def test_several_options_at_once_come_in_the_order_of_transformers(model, logits, plain):
    end = plain[0][3]
    bias = [([plain[0][0]], -2.0), ([end], 3.0)]
    options = dict(
        eos_token_id=end, min_new_tokens=3, repetition_penalty=1.4, no_repeat_ngram_size=2,
        suppress_tokens=[plain[1][1]],
        sequence_bias={tuple(word): value for word, value in bias}, exponential_decay_length_penalty=(1, 1.3),
        forced_eos_token_id=end, renormalize_logits=True,
    )  # fmt: skip
    expected = Options(
        new=10, ends=(end,), least=3, repetition_penalty=1.4, no_repeat_ngram_size=2, suppress_tokens=[plain[1][1]],
        sequence_bias=bias, decay=(1, 1.3), forced_eos=(end,), renormalize=True,
    )  # fmt: skip

    check(model, logits, options, expected)


SAMPLING = {
    "temperature": dict(temperature=0.7),
    "top_k": dict(top_k=4),
    "top_p": dict(top_p=0.8),
    "min_p": dict(min_p=0.2),
    "typical_p": dict(typical_p=0.7),
    "epsilon_cutoff": dict(epsilon_cutoff=0.06),
    "eta_cutoff": dict(eta_cutoff=0.3),
    "all": dict(
        temperature=1.6, top_k=12, top_p=0.95, min_p=0.01, typical_p=0.95, epsilon_cutoff=0.01, eta_cutoff=0.01
    ),
}


@pytest.mark.parametrize("name", SAMPLING)
def test_sampling_is_among_the_tokens_that_the_reference_leaves(model, logits, name):
    options = {"top_k": 0, **SAMPLING[name]}
    expected = Options(new=6, sample=True, **options)

    check(
        model, logits, dict(do_sample=True, prng_key=KEY, **options), expected,
        noise=lambda row: reference.noise_of(KEY, row, V),
    )  # fmt: skip

    if name != "temperature":
        left = [
            np.isfinite(scores).sum() for prompt in PROMPTS for scores in reference.single(logits, prompt, expected)[1]
        ]
        assert min(left) < V
        assert max(left) > 1


@pytest.mark.parametrize("options", [dict(top_k=65), dict(top_k=3, top_p=0.9), dict(top_k=150, top_p=0.99, min_p=1e-4)])
def test_sampling_from_a_vocabulary_larger_than_top_k(options):
    model = reference.tiny(config=dict(vocab_size=200, init_std=0.3))
    expected = Options(new=3, sample=True, **options)

    result = model.generate(
        [PROMPTS[0]], do_sample=True, prng_key=KEY, max_new_tokens=3, output_scores=True, **options
    )  # fmt: skip

    new, scores = reference.single(reference.oracle(model), PROMPTS[0], expected, reference.noise_of(KEY, 0, 200))
    assert reference.new_tokens(result, len(PROMPTS[0])) == [new]
    np.testing.assert_allclose(result.scores[:, 0], scores, rtol=2e-4, atol=2e-4)
    assert 1 < np.isfinite(scores[0]).sum() <= options["top_k"]


def test_sampling_draws_tokens_with_their_probabilities(model, logits):
    """A prompt many times over: each row has a key of its own, so their first tokens are independent draws."""
    rows = 4000
    probabilities = reference.softmax(logits(PROMPTS[0]) / 1.3)

    result = model.generate(
        np.array([PROMPTS[0]]), do_sample=True, prng_key=KEY, max_new_tokens=1, top_k=0, temperature=1.3,
        num_return_sequences=rows,
    )  # fmt: skip

    drawn = np.bincount(np.asarray(result.sequences)[:, -1], minlength=V) / rows
    np.testing.assert_allclose(drawn, probabilities, atol=5 * np.sqrt(0.25 / rows))
    assert drawn.max() < 0.999


def test_the_scores_of_the_model_itself_are_returned_on_request(model, logits):
    result = model.generate([PROMPTS[0]], max_new_tokens=4, repetition_penalty=2.0, output_logits=True)

    assert result.scores is None
    new = reference.new_tokens(result, len(PROMPTS[0]))[0]
    for step in range(4):
        np.testing.assert_allclose(result.logits[step, 0], logits(PROMPTS[0] + new[:step]), rtol=1e-4, atol=1e-4)
