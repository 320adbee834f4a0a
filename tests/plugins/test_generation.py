"""generate and stream: rows that do not depend on each other, programs that are compiled once, and what is returned."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.generation import GenerationConfig
from flax_bert import BertConfig, FlaxBertForCausalLM
from flax_gptneo import FlaxGPTNeoForCausalLM, GPTNeoConfig
from flax_runtime.batching import bucket
from flax_runtime.testing.counting import compilations

spec = importlib.util.spec_from_file_location("generation_reference", Path(__file__).parent / "generation_reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
Options, PROMPTS = reference.Options, reference.PROMPTS
KEY = jax.random.key(2)
MODES = {
    "greedy": dict(),
    "greedy with options": dict(
        repetition_penalty=1.3, no_repeat_ngram_size=2, bad_words_ids=[[3, 10]], eos_token_id=16
    ),
    "sample": dict(do_sample=True, top_p=0.9),
    "beams": dict(num_beams=3, num_return_sequences=2, eos_token_id=[10, 16], length_penalty=0.7),
    "beam-sample": dict(num_beams=2, do_sample=True, eos_token_id=16),
}


@pytest.fixture(scope="module")
def model():
    return reference.tiny()


@pytest.fixture(scope="module")
def logits(model):
    return reference.oracle(model)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_a_padded_batch_is_what_its_prompt_gives_alone(model, mode):
    options = {"max_new_tokens": 7, **MODES[mode]}
    keys = jax.random.split(KEY, len(PROMPTS)) if "do_sample" in options else None
    batch = reference.left_padded(PROMPTS)

    together = model.generate(**batch, prng_key=keys, **options)

    found = reference.new_tokens(together, 6)
    each = options.get("num_return_sequences", 1)
    for row, prompt in enumerate(PROMPTS):
        key = None if keys is None else keys[row : row + 1]
        alone = model.generate([prompt], prng_key=key, **options)
        assert found[row * each : (row + 1) * each] == reference.new_tokens(alone, len(prompt))


def test_lengths_that_count_the_prompt_count_each_prompt_without_its_padding(model, logits):
    batch = reference.left_padded(PROMPTS)

    result = model.generate(**batch, max_length=9)

    found = reference.new_tokens(result, 6)
    assert [len(new) for new in found] == [3, 8, 4]
    assert found == [reference.single(logits, prompt, Options(new=9 - len(prompt)))[0] for prompt in PROMPTS]
    assert result.sequences.shape == (3, 6 + 8)
    assert (np.asarray(result.sequences)[0, 9:] == 0).all()


def test_padding_may_be_of_any_width_and_any_token(model):
    plain = model.generate([PROMPTS[0]], max_new_tokens=5, repetition_penalty=1.5)
    for width, token in [(1, 0), (3, 3), (14, 30)]:
        ids = [[token] * width + PROMPTS[0]]
        mask = [[0] * width + [1] * len(PROMPTS[0])]

        padded = model.generate(ids, attention_mask=mask, max_new_tokens=5, repetition_penalty=1.5)

        assert padded.sequences[0, width:].tolist() == plain.sequences[0].tolist()
        assert padded.sequences[0, :width].tolist() == [token] * width


def test_without_a_mask_the_padding_token_is_padding_unless_it_ends_sequences(model):
    padded = [[0, 0, *PROMPTS[2]]]
    alone = model.generate([PROMPTS[2]], max_new_tokens=4)

    by_token = model.generate(padded, max_new_tokens=4)
    as_text = model.generate(padded, max_new_tokens=4, eos_token_id=0)
    with_mask = model.generate(padded, attention_mask=[[1] * 7], max_new_tokens=4)

    assert by_token.sequences[0, 2:].tolist() == alone.sequences[0].tolist()
    assert as_text.sequences.tolist() == with_mask.sequences.tolist()
    assert as_text.sequences[0, 2:].tolist() != alone.sequences[0].tolist()


def test_a_row_that_has_ended_is_filled_and_the_width_is_that_of_the_longest(model, logits):
    ends = reference.single(logits, PROMPTS[1], Options(new=8))[0][1:2]
    batch = reference.left_padded(PROMPTS[:2])

    result = model.generate(**batch, max_new_tokens=8, eos_token_id=ends, pad_token_id=29)

    assert result.lengths.tolist()[1] == 2
    assert result.sequences.shape == (2, 6 + max(result.lengths.tolist()))
    assert (np.asarray(result.sequences)[1, 8:] == 29).all()


def test_without_a_padding_token_ended_rows_are_filled_with_the_token_that_ends_them():
    model = reference.tiny(config=dict(pad_token_id=None))
    ends = model.generate([PROMPTS[1]], max_new_tokens=1).sequences[0, -1:].tolist()

    result = model.generate([PROMPTS[0][:1], PROMPTS[1]], max_new_tokens=4, eos_token_id=ends)

    assert result.lengths.tolist()[1] == 1
    assert (np.asarray(result.sequences)[1, 1:] == ends[0]).all()


def test_a_padding_token_outside_the_vocabulary_only_fills(model, logits):
    ends = reference.single(logits, PROMPTS[1], Options(new=8))[0][:1]
    plain = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=5, eos_token_id=ends)

    result = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=5, eos_token_id=ends, pad_token_id=1000)

    assert (np.asarray(result.sequences)[1, 7:] == 1000).all()
    assert reference.new_tokens(result, 6) == reference.new_tokens(plain, 6)


def test_sampling_with_a_key_is_repeatable_and_other_keys_give_other_texts(model):
    options = dict(do_sample=True, max_new_tokens=12, top_k=0, temperature=2.0)

    first, again, other = (model.generate([PROMPTS[0]], prng_key=jax.random.key(seed), **options) for seed in (1, 1, 2))
    old_style = model.generate([PROMPTS[0]], prng_key=jax.random.PRNGKey(1), **options)
    without = model.generate([PROMPTS[0]], **options)
    seeded = model.generate([PROMPTS[0]], prng_key=jax.random.key(model.seed), **options)

    assert first.sequences.tolist() == again.sequences.tolist() == old_style.sequences.tolist()
    assert first.sequences.tolist() != other.sequences.tolist()
    assert without.sequences.tolist() == seeded.sequences.tolist()


def test_rows_with_the_same_prompt_and_several_samples_of_one_differ(model):
    options = dict(do_sample=True, prng_key=KEY, max_new_tokens=12, top_k=0, temperature=2.0)

    several = model.generate([PROMPTS[0]] * 2, num_return_sequences=3, **options)
    single = model.generate([PROMPTS[0]] * 2, **options)

    assert len({tuple(row) for row in several.sequences.tolist()}) == 6
    assert several.sequences[::3].tolist() == single.sequences.tolist()


def test_with_one_key_a_row_is_sampled_alike_whatever_stands_beside_it_and_in_front(model):
    options = dict(do_sample=True, prng_key=KEY, max_new_tokens=9, top_k=0, temperature=2.0)
    alone = model.generate([PROMPTS[1]], **options).sequences[0, 1:].tolist()

    for others in (PROMPTS[:1], PROMPTS[2:], [[9] * 11, [3]]):
        batch = reference.left_padded([PROMPTS[1], *others])
        found = model.generate(**batch, **options)

        assert reference.new_tokens(found, batch["input_ids"].shape[1])[0] == alone


def test_twenty_prompts_and_two_temperatures_compile_a_program_for_each_bucket_and_one_loop():
    model = reference.tiny()
    prompts = [np.arange(1, length + 1)[None] % 30 + 1 for length in range(1, 21)]
    key = jax.random.key(0)
    options = dict(do_sample=True, prng_key=key, max_new_tokens=20, top_p=0.9)
    jnp.zeros(1).block_until_ready()

    with compilations() as first:
        for prompt in prompts:
            model.generate(prompt, temperature=0.7, **options)
    with compilations() as second:
        for prompt in prompts:
            model.generate(prompt, **{**options, "temperature": 1.9, "top_p": 0.5, "top_k": 20, "eos_token_id": [4, 5]})
            model.generate(prompt, **{**options, "max_new_tokens": 18, "pad_token_id": 40})

    assert {bucket(length, 1000, least=16) for length in range(1, 21)} == {16, 32}
    assert {bucket(width + 20, 1000, least=32) for width in (16, 32)} == {64}
    assert len(first) == 3
    assert second == []


def test_another_batch_size_or_another_kind_of_options_compiles_anew(model):
    with compilations() as found:
        for _ in range(2):
            model.generate([PROMPTS[0]] * 5, max_new_tokens=2)
            model.generate([PROMPTS[0]] * 5, max_new_tokens=2, repetition_penalty=1.1)

    assert len(found) == 4


@pytest.mark.parametrize(
    "options", [{}, dict(do_sample=True, prng_key=KEY, temperature=1.5), dict(eos_token_id=[10, 16])]
)
@pytest.mark.parametrize("size", [1, 3, 50])
def test_streamed_pieces_are_together_what_generate_returns(model, options, size):
    batch = reference.left_padded(PROMPTS)
    whole = model.generate(**batch, max_new_tokens=11, **options)

    pieces = list(model.stream(**batch, max_new_tokens=11, chunk_size=size, **options))

    assert np.concatenate(pieces, axis=1).tolist() == whole.sequences[:, 6:].tolist()
    assert pieces[0].shape == (3, 1)
    assert {piece.shape[1] for piece in pieces[1:-1]} <= {size}


def counting(steps):
    """A processor that changes nothing and notes every step that is computed."""

    def note(ids, scores, *, cur_len):
        jax.debug.callback(lambda length: steps.append(int(length)), cur_len)
        return scores

    return note


def test_pieces_come_while_later_tokens_are_not_computed_yet(model):
    steps = []
    stream = model.stream([PROMPTS[0]], max_new_tokens=20, chunk_size=3, logits_processor=[counting(steps)])

    computed = []
    for _ in stream:
        jax.effects_barrier()
        computed.append(len(steps))

    # While a piece is looked at, the next one is computed, and no other.
    assert computed == [4, 7, 10, 13, 16, 19, 20, 20]


def test_no_step_is_computed_behind_the_end_of_the_last_row(model, logits):
    ends = [
        reference.single(logits, prompt, Options(new=12))[0][place]
        for prompt, place in zip(PROMPTS, (2, 0, 4), strict=True)
    ]
    wanted = [reference.single(logits, prompt, Options(new=12, ends=tuple(ends)))[0] for prompt in PROMPTS]
    steps = []

    found = model.generate(
        **reference.left_padded(PROMPTS), max_new_tokens=12, eos_token_id=ends, logits_processor=[counting(steps)]
    )
    jax.effects_barrier()

    assert reference.new_tokens(found, 6) == wanted
    assert len(steps) == max(map(len, wanted)) < 12


def test_streaming_compiles_no_program_of_its_own(model):
    model.generate([PROMPTS[0]], max_new_tokens=16)

    with compilations() as found:
        pieces = list(model.stream([PROMPTS[0]], max_new_tokens=15, chunk_size=4))

    assert found == []
    assert [piece.shape[1] for piece in pieces] == [1, 4, 4, 4, 2]


def test_a_stream_may_be_left_before_its_end(model):
    stream = model.stream([PROMPTS[0]], max_new_tokens=12, chunk_size=2)
    first = [next(stream), next(stream)]
    stream.close()

    whole = model.generate([PROMPTS[0]], max_new_tokens=12)

    assert np.concatenate(first, axis=1).tolist() == whole.sequences[:, 6:9].tolist()


def test_other_parameters_are_used_where_they_are_given(model):
    bare = reference.tiny(_do_init=False)
    other = jax.tree.map(lambda leaf: leaf * 1.3, model.params)

    own = model.generate([PROMPTS[0]], max_new_tokens=8)

    assert (
        bare.generate([PROMPTS[0]], max_new_tokens=8, params=model.params).sequences.tolist() == own.sequences.tolist()
    )
    changed = bare.generate([PROMPTS[0]], max_new_tokens=8, params=other).sequences.tolist()
    assert changed == model.generate([PROMPTS[0]], max_new_tokens=8, params=other).sequences.tolist()
    assert changed != own.sequences.tolist()


def test_half_precision_generates_and_chooses_by_scores_in_float32(model):
    half = reference.tiny(dtype=jnp.bfloat16)
    batch = reference.left_padded(PROMPTS)
    logits = reference.oracle(half)

    result = half.generate(**batch, max_new_tokens=5, output_scores=True)
    alone = [half.generate([prompt], max_new_tokens=5) for prompt in PROMPTS]

    assert result.scores.dtype == jnp.float32
    for row, prompt in enumerate(PROMPTS):
        assert reference.new_tokens(alone[row], len(prompt))[0] == reference.new_tokens(result, 6)[row]
        np.testing.assert_allclose(result.scores[0, row], logits(prompt), rtol=0.05, atol=0.1)


def test_a_model_forgets_programs_when_its_vocabulary_grows():
    model = reference.tiny()
    before = model.generate([PROMPTS[0]], max_new_tokens=6)

    model.resize_token_embeddings(40)

    assert model.generate([[35, 39]], max_new_tokens=4, suppress_tokens=[]).sequences.shape == (1, 6)
    bad = list(range(31, 40))
    assert (
        model.generate([PROMPTS[0]], max_new_tokens=6, suppress_tokens=bad).sequences.tolist()
        == before.sequences.tolist()
    )


def test_a_pickled_model_generates_the_same(model):
    copied = pickle.loads(pickle.dumps(model))

    assert copied.generate([PROMPTS[0]], max_new_tokens=5).sequences.tolist() == (
        model.generate([PROMPTS[0]], max_new_tokens=5).sequences.tolist()
    )


def searched(logits, prompt, options):
    """The best sequence of the reference, greedy or by beams."""
    if options.num_beams == 1:
        return reference.single(logits, prompt, options)[0]
    return reference.beams(logits, prompt, options)[0].new


@pytest.mark.parametrize("beams", [1, 3])
def test_an_opt_of_the_shape_of_350m_generates(beams):
    fields = dict(do_layer_norm_before=False, word_embed_proj_dim=7, tie_word_embeddings=False)
    model = reference.tiny(config=dict(fields, num_hidden_layers=2, init_std=0.8), seed=5)
    logits = reference.oracle(model)

    found = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=7, num_beams=beams)

    wanted = [searched(logits, prompt, Options(new=7, num_beams=beams)) for prompt in PROMPTS]
    assert reference.new_tokens(found, 6) == wanted
    assert len({token for new in wanted for token in new}) > 4


@pytest.mark.parametrize("beams", [1, 3])
def test_a_bert_that_is_a_decoder_generates(beams):
    config = BertConfig(
        vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=24, is_decoder=True, initializer_range=0.8,
    )  # fmt: skip
    model = FlaxBertForCausalLM(config, seed=5)
    logits = reference.oracle(model)

    found = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=7, num_beams=beams)

    wanted = [searched(logits, prompt, Options(new=7, num_beams=beams)) for prompt in PROMPTS]
    assert reference.new_tokens(found, 6) == wanted
    assert len({token for new in wanted for token in new}) > 4


@pytest.mark.parametrize(("window", "beams"), [(3, 1), (100, 1), (3, 2)])
def test_a_window_counts_tokens_and_not_padding(window, beams):
    config = GPTNeoConfig(
        vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=24,
        attention_types=[[["local", "global"], 1]], window_size=window, initializer_range=0.6, pad_token_id=0,
        bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    model = FlaxGPTNeoForCausalLM(config, seed=4)
    logits = reference.oracle(model)

    found = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=9, num_beams=beams)

    wanted = [searched(logits, prompt, Options(new=9, num_beams=beams)) for prompt in PROMPTS]
    assert reference.new_tokens(found, 6) == wanted


def test_a_sequence_may_be_as_long_as_the_model_has_positions_whatever_its_padding(model, logits):
    prompt = [int(token) for token in np.arange(33) % 29 + 1]

    result = model.generate([[0, 0, *prompt]], attention_mask=[[0, 0] + [1] * 33], max_length=40)

    assert result.lengths.tolist() == [7]
    assert reference.new_tokens(result, 35)[0] == reference.single(logits, prompt, Options(new=7))[0]


def test_functions_of_the_caller_change_scores_between_the_options_and_sampling(model, logits):
    def only_even(ids, scores, *, cur_len):
        seen = jnp.sum(jnp.where(jnp.arange(ids.shape[1]) < cur_len, ids, 0), axis=1)
        even = jnp.arange(scores.shape[1]) % 2 == 0
        return jnp.where(even[None] & (seen[:, None] >= 0), scores, -jnp.inf)

    def on_lists(tokens, scores):
        return np.where(np.arange(len(scores)) % 2 == 0, scores, -np.inf)

    expected = Options(new=6, custom=on_lists, forced_eos=(3,), temperature=0.5, sample=True)
    options = dict(do_sample=True, prng_key=KEY, temperature=0.5, top_k=0, forced_eos_token_id=[3, 4])

    result = model.generate([PROMPTS[0]], max_new_tokens=6, logits_processor=[only_even], output_scores=True, **options)

    expected = expected._replace(forced_eos=(3, 4))
    noise = reference.noise_of(KEY, 0, 31)
    new, scores = reference.single(logits, PROMPTS[0], expected, noise)
    assert reference.new_tokens(result, 6)[0] == new
    np.testing.assert_allclose(result.scores[:, 0], scores, rtol=1e-4, atol=1e-4)
    assert new[-1] == 4


def test_functions_of_the_caller_see_the_prompt_as_it_was_given(model):
    seen = []

    def look(ids, scores, *, cur_len):
        jax.debug.callback(lambda ids, length: seen.append((int(length), ids[:, : int(length)].tolist())), ids, cur_len)
        return scores

    result = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=3, logits_processor=[look])
    jax.effects_barrier()

    rows = result.sequences.tolist()
    assert sorted(seen) == [(length, [row[:length] for row in rows]) for length in (6, 7, 8)]


def test_functions_of_the_caller_end_rows_or_everything(model, logits):
    def at_third(ids, scores, *, cur_len):
        last = jax.lax.dynamic_index_in_dim(ids, cur_len - 1, axis=1, keepdims=False)
        return last % 3 == 0

    def at_nine(ids, scores, *, cur_len):
        return cur_len >= 9

    rows = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=10, stopping_criteria=[at_third])
    all_of_them = model.generate(**reference.left_padded(PROMPTS), max_new_tokens=10, stopping_criteria=[at_nine])

    wanted = Options(new=10, stops=lambda tokens: tokens[-1] % 3 == 0)
    found = [reference.single(logits, prompt, wanted)[0] for prompt in PROMPTS]
    assert reference.new_tokens(rows, 6) == found
    assert len({len(new) for new in found}) > 1
    assert all_of_them.lengths.tolist() == [3, 3, 3]


def test_time_that_is_up_ends_generation_and_what_is_there_is_returned(model):
    whole = model.generate([PROMPTS[0]], max_new_tokens=30)

    short = model.generate([PROMPTS[0]], max_new_tokens=30, max_time=1e-9)
    long = model.generate([PROMPTS[0]], max_new_tokens=30, max_time=1000.0)
    pieces = list(model.stream([PROMPTS[0]], max_new_tokens=30, max_time=1e-9, chunk_size=4))

    assert short.sequences.tolist() == whole.sequences[:, :7].tolist()
    assert long.sequences.tolist() == whole.sequences.tolist()
    assert [piece.tolist() for piece in pieces] == [whole.sequences[:, 6:7].tolist()]


def test_the_ids_alone_are_returned_on_request(model):
    whole = model.generate([PROMPTS[0]], max_new_tokens=4)

    alone = model.generate([PROMPTS[0]], max_new_tokens=4, return_dict_in_generate=False)
    asked = GenerationConfig(max_new_tokens=4, return_dict_in_generate=False)

    assert alone.tolist() == whole.sequences.tolist() == whole["sequences"].tolist() == whole[0].tolist()
    assert isinstance(alone, jax.Array)
    assert isinstance(model.generate([PROMPTS[0]], asked), jax.Array)


def test_options_come_from_the_call_then_the_given_config_then_the_saved_one_then_the_models(model):
    model = reference.tiny(config=dict(eos_token_id=13, pad_token_id=5))
    model.generation_config = GenerationConfig(max_new_tokens=9, pad_token_id=6)
    given = GenerationConfig(max_new_tokens=7)
    prompt = [PROMPTS[1]]

    saved = model.generate(prompt)
    config = model.generate(prompt, given)
    call = model.generate(prompt, given, max_new_tokens=5)
    ended = model.generate([PROMPTS[2], PROMPTS[0][:5]])

    assert (saved.lengths.tolist(), config.lengths.tolist(), call.lengths.tolist()) == ([7], [7], [5])
    assert saved.sequences[0, -1] == 13
    assert ended.lengths.tolist()[0] == 1
    assert (np.asarray(ended.sequences)[0, 6:] == 6).all()


def test_twenty_tokens_are_generated_unless_something_else_is_said(model):
    assert model.generate([PROMPTS[0]]).lengths.tolist() == [20]
    assert model.generate([[3] * 30]).lengths.tolist() == [10]


def test_whether_there_is_a_cache_changes_nothing(model):
    without = model.generate([PROMPTS[0]], max_new_tokens=5, use_cache=False)

    assert without.sequences.tolist() == model.generate([PROMPTS[0]], max_new_tokens=5).sequences.tolist()


def test_without_a_prompt_the_text_begins_with_the_first_token(model):
    found = model.generate(max_new_tokens=4)

    assert found.sequences.tolist() == model.generate([[1]], max_new_tokens=4).sequences.tolist()


def test_the_same_call_twice_gives_the_same_and_leaves_the_parameters(model):
    before = jax.tree.map(np.array, model.params)

    first, second = (model.generate(**reference.left_padded(PROMPTS), max_new_tokens=5, num_beams=2) for _ in range(2))

    assert first.sequences.tolist() == second.sequences.tolist()
    jax.tree.map(np.testing.assert_array_equal, before, model.params)
