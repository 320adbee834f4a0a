"""generate and stream in PyTorch: rows that do not depend on each other, what is returned, who is told of tokens."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from generation_models import PROMPTS, Options, V, generated, left_padded, new_tokens, oracle, reference, tiny  # noqa: E402

from automodels.generation import GenerationConfig  # noqa: E402
from torch_heads import BertConfig, GPTNeoConfig, GPTNeoForCausalLM  # noqa: E402
from torch_runtime.generation.output import GenerateOutput  # noqa: E402

MODES = {
    "greedy": dict(),
    "greedy with options": dict(
        repetition_penalty=1.3, no_repeat_ngram_size=2, bad_words_ids=[[3, 10]], eos_token_id=16
    ),
    "sample": dict(do_sample=True, top_p=0.9),
    "beams": dict(num_beams=3, num_return_sequences=2, eos_token_id=[10, 16], length_penalty=0.7),
    "beam-sample": dict(num_beams=2, do_sample=True, eos_token_id=16),
}
FIRST = torch.tensor([PROMPTS[0]])


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def logits(model):
    return oracle(model)


def generators(rows):
    return [torch.Generator().manual_seed(100 + row) for row in rows]


@pytest.mark.parametrize("mode", MODES)
def test_a_row_of_a_padded_batch_is_what_its_prompt_gives_alone(model, mode):
    options = {"max_new_tokens": 7, **MODES[mode]}

    def drawn(*rows):
        return dict(generator=generators(rows)) if "do_sample" in options else {}

    together = new_tokens(generated(model, **left_padded(PROMPTS), **options, **drawn(0, 1, 2)), 6)

    each = options.get("num_return_sequences", 1)
    for row, prompt in enumerate(PROMPTS):
        alone = generated(model, torch.tensor([prompt]), **options, **drawn(row))
        assert together[row * each : (row + 1) * each] == new_tokens(alone, len(prompt))


def test_lengths_that_count_the_prompt_count_each_prompt_without_its_padding(model, logits):
    result = generated(model, **left_padded(PROMPTS), max_length=9)

    found = new_tokens(result, 6)
    assert [len(new) for new in found] == [3, 8, 4]
    assert found == [reference.single(logits, prompt, Options(new=9 - len(prompt)))[0] for prompt in PROMPTS]
    assert result.sequences.shape == (3, 6 + 8)
    assert (result.sequences[0, 9:] == 0).all()


def test_padding_may_be_of_any_width_and_any_token(model):
    plain = model.generate(FIRST, max_new_tokens=5, repetition_penalty=1.5)[0].tolist()
    for width, token in [(1, 0), (3, 3), (14, 30)]:
        ids = torch.tensor([[token] * width + PROMPTS[0]])
        mask = torch.tensor([[0] * width + [1] * len(PROMPTS[0])])

        padded = model.generate(ids, attention_mask=mask, max_new_tokens=5, repetition_penalty=1.5)[0].tolist()

        assert padded == [token] * width + plain


def test_without_a_mask_the_padding_token_is_padding_unless_it_ends_sequences(model):
    padded = torch.tensor([[0, 0, *PROMPTS[2]]])
    alone = model.generate(torch.tensor([PROMPTS[2]]), max_new_tokens=4)

    by_token = model.generate(padded, max_new_tokens=4)
    as_text = model.generate(padded, max_new_tokens=4, eos_token_id=0)
    with_mask = model.generate(padded, attention_mask=torch.ones_like(padded), max_new_tokens=4)

    assert by_token[0, 2:].tolist() == alone[0].tolist()
    assert as_text.tolist() == with_mask.tolist()
    assert as_text[0, 2:].tolist() != alone[0].tolist()


@pytest.mark.parametrize("pad", [29, 1000])
def test_a_row_that_has_ended_is_filled_whatever_the_padding_token_is(model, logits, pad):
    ends = reference.single(logits, PROMPTS[1], Options(new=8))[0][1]

    result = generated(model, **left_padded(PROMPTS[:2]), max_new_tokens=8, eos_token_id=ends, pad_token_id=pad)

    assert result.lengths.tolist()[1] == 2
    assert result.sequences.shape == (2, 6 + int(result.lengths.max()))
    assert (result.sequences[1, 8:] == pad).all()
    expected = [reference.single(logits, prompt, Options(new=8, ends=(ends,)))[0] for prompt in PROMPTS[:2]]
    assert new_tokens(result, 6) == expected


def test_without_a_padding_token_ended_rows_are_filled_with_the_token_that_ends_them():
    model = tiny(pad_token_id=None)
    prompts = torch.tensor([PROMPTS[0][:1], PROMPTS[1]])
    end = model.generate(prompts, max_new_tokens=1)[1, -1].item()

    result = generated(model, prompts, max_new_tokens=4, eos_token_id=end)

    assert result.lengths.tolist()[1] == 1
    assert (result.sequences[1, 1:] == end).all()
    assert result.sequences.shape[1] > 2


def test_sampling_with_a_seed_or_a_generator_is_repeatable_and_others_give_other_texts(model):
    options = dict(do_sample=True, max_new_tokens=12, top_k=0, temperature=2.0)

    by_seed = [model.generate(FIRST, seed=seed, **options).tolist() for seed in (1, 1, 2, -1)]
    by_generator = [
        model.generate(FIRST, generator=torch.Generator().manual_seed(seed), **options).tolist() for seed in (1, 1, 2)
    ]

    for first, again, *others in (by_seed, by_generator):
        assert first == again
        assert first not in others


def test_without_a_generator_torch_own_numbers_count_and_every_call_draws_new_ones(model):
    options = dict(do_sample=True, max_new_tokens=12, top_k=0, temperature=2.0)
    torch.manual_seed(3)
    first, second = model.generate(FIRST, **options).tolist(), model.generate(FIRST, **options).tolist()

    torch.manual_seed(3)
    again = model.generate(FIRST, **options).tolist()

    assert first == again
    assert first != second


def test_rows_with_the_same_prompt_and_several_samples_of_one_differ(model):
    options = dict(do_sample=True, seed=2, max_new_tokens=12, top_k=0, temperature=2.0)
    twice = torch.tensor([PROMPTS[0]] * 2)

    several = model.generate(twice, num_return_sequences=3, **options)
    single = model.generate(twice, **options)
    alone = model.generate(FIRST, **options)

    assert len({tuple(row) for row in several.tolist()}) == 6
    assert several[::3].tolist() == single.tolist()
    assert single[:1].tolist() == alone.tolist()


@pytest.mark.parametrize("options", [{}, dict(do_sample=True, seed=4, temperature=1.5), dict(eos_token_id=[10, 16])])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_streamed_pieces_are_together_what_generate_returns(model, options, size):
    batch = left_padded(PROMPTS)
    whole = model.generate(**batch, max_new_tokens=11, **options)

    pieces = list(model.stream(**batch, max_new_tokens=11, chunk_size=size, **options))

    assert torch.cat(pieces, dim=1).tolist() == whole[:, 6:].tolist()
    assert pieces[0].shape == (3, 1)
    assert {piece.shape[1] for piece in pieces[1:-1]} <= {size}


def test_a_stream_computes_no_token_before_it_is_asked_for(model, monkeypatch):
    calls = []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))

    stream = model.stream(FIRST, max_new_tokens=12)
    first = [next(stream), next(stream)]
    stream.close()

    assert len(calls) == 2
    assert torch.cat(first, dim=1).tolist() == model.generate(FIRST, max_new_tokens=2)[:, 6:].tolist()


class Told:
    """What transformers' streamers are: told of the prompt, of every token, and of the end."""

    def __init__(self):
        self.values, self.ends = [], 0

    def put(self, value):
        self.values.append(value)

    def end(self):
        self.ends += 1


def test_a_streamer_is_told_of_the_prompt_and_of_every_token(model):
    told = Told()

    whole = model.generate(**left_padded(PROMPTS), max_new_tokens=5, eos_token_id=[10, 16], streamer=told)

    prompts, *tokens = told.values
    assert prompts.tolist() == whole[:, :6].tolist()
    assert torch.stack(tokens, dim=1).tolist() == whole[:, 6:].tolist()
    assert told.ends == 1


def test_a_call_returns_ids_alone_unless_an_object_is_asked_for(model):
    alone = model.generate(FIRST, max_new_tokens=3)
    whole = model.generate(FIRST, GenerationConfig(max_new_tokens=3, return_dict_in_generate=True))

    assert isinstance(alone, torch.Tensor)
    assert isinstance(whole, GenerateOutput)
    assert whole.sequences.tolist() == alone.tolist()
    assert sorted(whole.keys()) == ["lengths", "sequences"]


def test_what_is_returned_can_be_used_like_any_other_tensor(model):
    result = generated(model, FIRST, max_new_tokens=3, output_scores=True, num_beams=2)

    result.sequences[result.sequences == 3] = 4
    table = torch.nn.Parameter(torch.ones(V, 2))
    (result.scores[0] @ table).sum().backward()

    assert torch.isfinite(table.grad).all()


def test_half_precision_generates_and_chooses_by_scores_in_float32(model):
    half = copy.deepcopy(model).to(torch.bfloat16)
    batch = left_padded(PROMPTS)
    logits = oracle(half)

    result = generated(half, **batch, max_new_tokens=5, output_scores=True)

    assert result.scores[0].dtype == torch.float32
    for row, prompt in enumerate(PROMPTS):
        alone = generated(half, torch.tensor([prompt]), max_new_tokens=5)
        assert new_tokens(alone, len(prompt))[0] == new_tokens(result, 6)[row]
        np.testing.assert_allclose(result.scores[0][row], logits(prompt), rtol=0.05, atol=0.1)


def test_a_model_in_training_keeps_its_mode_and_gets_no_gradients(model):
    training = copy.deepcopy(model).train()
    training.config = training.config.copy_with(dropout=0.0)

    found = training.generate(FIRST, max_new_tokens=5)

    assert training.training
    assert all(parameter.grad is None for parameter in training.parameters())
    assert not found.is_inference()


@pytest.mark.parametrize("window", [3, 100])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_a_window_counts_tokens_and_not_padding(window, backend):
    config = GPTNeoConfig(
        vocab_size=31, hidden_size=12, num_layers=2, num_heads=3, intermediate_size=20, max_position_embeddings=24,
        attention_types=[(["local", "global"], 1)], window_size=window, initializer_range=0.6, pad_token_id=0,
        bos_token_id=1, eos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(4)
    model = GPTNeoForCausalLM(config, backend=backend).eval()
    logits = oracle(model)
    wanted = [reference.single(logits, prompt, Options(new=9))[0] for prompt in PROMPTS]

    together = generated(model, **left_padded(PROMPTS), max_new_tokens=9)
    alone = [generated(model, torch.tensor([prompt]), max_new_tokens=9) for prompt in PROMPTS]

    assert new_tokens(together, 6) == wanted
    assert [new_tokens(one, len(prompt))[0] for one, prompt in zip(alone, PROMPTS, strict=True)] == wanted


def test_a_bert_that_is_a_decoder_generates():
    from torch_heads import BertLMHeadModel

    config = BertConfig(
        vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=24, is_decoder=True, initializer_range=0.8,
    )  # fmt: skip
    torch.manual_seed(4)
    model = BertLMHeadModel(config).eval()
    logits = oracle(model)

    found = generated(model, **left_padded(PROMPTS), max_new_tokens=7)

    wanted = [reference.single(logits, prompt, Options(new=7))[0] for prompt in PROMPTS]
    assert new_tokens(found, 6) == wanted
    assert len({token for new in wanted for token in new}) > 4


def test_a_sequence_may_be_as_long_as_the_model_has_positions_whatever_its_padding(model, logits):
    prompt = [token % 29 + 1 for token in range(33)]
    ids, mask = torch.tensor([[0, 0, *prompt]]), torch.tensor([[0, 0] + [1] * 33])

    result = generated(model, ids, attention_mask=mask, max_length=40)

    assert result.lengths.tolist() == [7]
    assert new_tokens(result, 35)[0] == reference.single(logits, prompt, Options(new=7))[0]


def test_functions_of_the_caller_change_scores_between_the_options_and_sampling(model, logits):
    def only_even(ids, scores):
        scores[:, 1::2] = -torch.inf  # in place, as many do
        return scores

    def on_lists(tokens, scores):
        return np.where(np.arange(len(scores)) % 2 == 0, scores, -np.inf)

    result = generated(
        model, FIRST, max_new_tokens=6, logits_processor=[only_even], output_scores=True, output_logits=True,
        forced_eos_token_id=[3, 4],
    )  # fmt: skip

    new, scores = reference.single(logits, PROMPTS[0], Options(new=6, custom=on_lists, forced_eos=(3, 4)))
    assert new_tokens(result, 6)[0] == new
    np.testing.assert_allclose(torch.cat(result.scores), scores, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(torch.cat(result.logits)).all()
    assert new[-1] == 4


def test_functions_of_the_caller_see_the_prompt_as_it_was_given(model):
    seen = []

    def look(ids, scores):
        seen.append(ids.tolist())
        return scores

    rows = model.generate(**left_padded(PROMPTS), max_new_tokens=3, logits_processor=[look]).tolist()

    assert seen == [[row[:length] for row in rows] for length in (6, 7, 8)]


def test_functions_of_the_caller_end_rows_or_everything(model, logits):
    rows = generated(
        model, **left_padded(PROMPTS), max_new_tokens=10, stopping_criteria=[lambda ids, scores: ids[:, -1] % 3 == 0]
    )
    everything = generated(
        model, **left_padded(PROMPTS), max_new_tokens=10, stopping_criteria=[lambda ids, scores: ids.shape[1] >= 9]
    )

    wanted = Options(new=10, stops=lambda tokens: tokens[-1] % 3 == 0)
    found = [reference.single(logits, prompt, wanted)[0] for prompt in PROMPTS]
    assert new_tokens(rows, 6) == found
    assert len({len(new) for new in found}) > 1
    assert everything.lengths.tolist() == [3, 3, 3]


def test_time_that_is_up_ends_all_rows_with_the_token_that_was_under_way(model):
    result = generated(model, **left_padded(PROMPTS), max_new_tokens=30, max_time=1e-6)

    assert result.lengths.tolist() == [1, 1, 1]
    assert result.sequences.shape == (3, 7)


def test_without_ends_nothing_looks_whether_rows_have_ended(model, monkeypatch):
    looks = []
    every = torch.Tensor.all
    monkeypatch.setattr(torch.Tensor, "all", lambda self, *a, **k: looks.append(1) or every(self, *a, **k))

    model.generate(FIRST, max_new_tokens=12)

    assert looks == []


def test_each_token_is_one_call_of_one_token_and_a_cache_that_never_moves(model, monkeypatch):
    calls = []
    forward = type(model).forward

    def watched(self, *arguments, **named):
        output = forward(self, *arguments, **named)
        cache = named["past_key_values"]
        calls.append((named["input_ids"].shape[1], cache._keys[0].data_ptr(), named.get("attention_mask")))
        return output

    monkeypatch.setattr(type(model), "forward", watched)

    model.generate(FIRST, max_new_tokens=20)

    assert [tokens for tokens, _, _ in calls] == [6] + [1] * 19
    assert len({address for _, address, _ in calls}) == 1
    assert {mask for _, _, mask in calls} == {None}


class Backend:
    """A backend of torch.compile that runs what it is given as it is, and counts it."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


@pytest.mark.parametrize("options", [{}, dict(num_beams=3, eos_token_id=[10, 16])], ids=["greedy", "beams"])
def test_a_compiled_step_is_one_graph_that_serves_every_length(model, options):
    torch.compiler.reset()
    backend = Backend()
    batches = [
        (left_padded(PROMPTS), 9),
        (left_padded(PROMPTS), 12),
        (dict(input_ids=FIRST), 9),
        (dict(input_ids=FIRST[:, :3]), 11),
        (dict(input_ids=FIRST[:, :2]), 8),
    ]

    def generated_all(**more):
        return [model.generate(**batch, max_new_tokens=new, **options, **more).tolist() for batch, new in batches]

    found = generated_all(compile=backend)
    before = backend.graphs
    for length, new in [(1, 20), (4, 15), (5, 30)]:
        model.generate(FIRST[:, :length], max_new_tokens=new, compile=backend, **options)
        model.generate(**left_padded(PROMPTS), max_new_tokens=new, compile=backend, **options)

    assert found == generated_all()
    assert 0 < before <= 6  # for each batch size at most one for a length, one for a cache, one for all
    assert backend.graphs == before
