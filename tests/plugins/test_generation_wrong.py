"""What generate refuses, and what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import (
    CheckpointMismatchError,
    ConfigValueError,
    InputError,
    UnknownArgumentError,
    UnsupportedConfigError,
)
from automodels.generation import GenerationConfig
from flax_bert import BertConfig, FlaxBertForCausalLM, FlaxBertModel

spec = importlib.util.spec_from_file_location("generation_reference", Path(__file__).parent / "generation_reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)
SMALL_BERT = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly():
    """What is compared here does not depend on it; test_generation.py compiles as users do."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def model():
    return reference.tiny()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(input_ids=[[3] * 40]), "The prompt has 40 tokens, which leaves no room: the model has 40 positions"),
        (dict(input_ids=[[3] * 35], max_new_tokens=6), "35 tokens and 6 new ones make 41.*only 40 positions"),
        (
            dict(input_ids=[[3] * 5], max_length=5),
            "The prompt has 5 tokens, and max_length, which counts them too, is 5",
        ),
        (dict(input_ids=[[3, 31]]), "input_ids has the value 31; the vocabulary has ids 0 to 30"),
        (dict(input_ids=[[3, -1]]), "input_ids has the value -1"),
        (dict(input_ids=[[3.0, 4.0]]), "input_ids holds float64, not whole numbers"),
        (dict(input_ids=[["a"]]), "input_ids holds text, not token ids"),
        (dict(input_ids="A text"), "input_ids holds text, not token ids.\n.*tokenizer"),
        (dict(input_ids=["A text", "another"]), "input_ids holds text, not token ids"),
        (dict(input_ids={"input_ids": [[3]]}), r"input_ids is a dict.\n.*generate\(\*\*batch\)"),
        (dict(input_ids=[3, 4]), r"input_ids has shape \[2\]; a prompt is \[batch, tokens\]"),
        (dict(input_ids=np.zeros((0, 4), np.int32)), r"input_ids has shape \[0, 4\]"),
        (dict(input_ids=np.zeros((2, 0), np.int32)), r"input_ids has shape \[2, 0\]"),
        (dict(input_ids=[[3, 4], [5]]), "input_ids is no array.*\n.*Pad the rows on the left"),
        (dict(input_ids=[[3, 4]], attention_mask=[[1]]), r"attention_mask has shape \[1, 1\], input_ids \[1, 2\]"),
        (dict(input_ids=[[3, 4]], attention_mask=[1, 1]), r"attention_mask has shape \[2\]"),
        (dict(input_ids=[[3, 4]], attention_mask=[[0.5, 1.0]]), "attention_mask holds float64"),
        (
            dict(input_ids=[[3, 4], [3, 0]], attention_mask=[[1, 1], [1, 0]]),
            "Row 1 of the prompt ends in padding; .*\n.*padding_side",
        ),
        (dict(input_ids=[[3, 4], [3, 0]]), r"Row 1 of the prompt ends in padding \(tokens 0, pad_token_id"),
        (dict(input_ids=[[3, 4]], attention_mask=[[0, 0]]), "Row 0 of the prompt is padding alone"),
        (dict(input_ids=[[3]], generation_config={"top_k": 3}), "generation_config is a dict, not a GenerationConfig"),
        (dict(input_ids=[[3]], stop_strings="x"), "stop_strings needs the tokenizer, and there is none"),
        (dict(input_ids=[[3]], stop_strings="x", tokenizer=3), "tokenizer is a int"),
        (dict(input_ids=[[3]], logits_processor=max), "logits_processor is a builtin_function_or_method, not a list"),
        (
            dict(input_ids=[[3]], logits_processor=[lambda ids: ids]),
            r"logits_processor has .*which does not take \(ids, scores, cur_len=\)",
        ),
        (
            dict(input_ids=[[3]], stopping_criteria=[abs]),
            r"stopping_criteria has .*which does not take \(ids, scores, cur_len=\)",
        ),
        (dict(input_ids=[[3]], stopping_criteria=[3]), "stopping_criteria has 3, which is no function"),
        (dict(input_ids=[[3]], do_sample=True, prng_key=7), "prng_key is 7, not a random key"),
        (
            dict(input_ids=[[3]], do_sample=True, prng_key=jax.random.split(jax.random.key(0), 2)),
            "prng_key has 2 keys for 1 prompts",
        ),
    ],
)
def test_prompts_and_arguments_that_make_no_sense_are_refused(model, arguments, said):
    with pytest.raises(InputError, match=said):
        model.generate(**arguments)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("max_new_token", "max_new_tokens"),
        ("temprature", "temperature"),
        ("prng_keys", "prng_key"),
        ("attention_masks", "attention_mask"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest_name(model, name, guess):
    with pytest.raises(UnknownArgumentError, match=f"generate has no argument '{name}'; did you mean '{guess}'"):
        model.generate([[3]], **{name: 1})


def test_impossible_and_unimplemented_values_of_options_are_refused(model):
    with pytest.raises(ConfigValueError, match="suppress_tokens has every token of the vocabulary"):
        model.generate([[3]], suppress_tokens=list(range(31)))
    with pytest.raises(ConfigValueError, match="temperature"):
        model.generate([[3]], do_sample=True, temperature=0.0)
    with pytest.raises(ConfigValueError, match="31 in suppress_tokens: outside a vocabulary of 31"):
        model.generate([[3]], suppress_tokens=[31])
    with pytest.raises(ConfigValueError, match="num_return_sequences is 3, but num_beams is only 2"):
        model.generate([[3]], num_beams=2, num_return_sequences=3)
    with pytest.raises(UnsupportedConfigError, match="penalty_alpha"):
        model.generate([[3]], penalty_alpha=0.6)


def test_functions_that_cannot_be_found_again_are_refused(model):
    class Processor:
        __hash__ = None

        def __call__(self, ids, scores, *, cur_len):
            return scores

    with pytest.raises(InputError, match=r"logits_processor has a Processor that cannot be hashed"):
        model.generate([[3]], logits_processor=[Processor()])


def test_functions_that_return_other_shapes_are_refused(model):
    with pytest.raises(InputError, match=r"logits processor returned the shape \[1\]; it was given \[1, 31\]"):
        model.generate([[3]], logits_processor=[lambda ids, scores, cur_len: scores[:, 0]])
    with pytest.raises(InputError, match=r"stopping criterion returned the shape \[1, 31\]; it needs \[\] or \[1\]"):
        model.generate([[3]], stopping_criteria=[lambda ids, scores, cur_len: scores > 0])


def test_generation_inside_a_compiled_function_is_refused(model):
    with pytest.raises(InputError, match="input_ids is a traced array.*outside jit"):
        jax.jit(model.generate)(jnp.array([[3]]))


def test_beams_cannot_be_streamed_and_pieces_have_a_size(model):
    with pytest.raises(InputError, match="num_beams is 2: beam search knows its first token only at the end"):
        model.stream([[3]], num_beams=2)
    with pytest.raises(InputError, match="chunk_size is 0"):
        model.stream([[3]], chunk_size=0)
    with pytest.raises(InputError, match="The prompt has 40 tokens"):  # at once, not with the first piece
        model.stream([[3] * 40])


def test_a_text_to_go_on_with_is_one_text(model):
    with pytest.raises(InputError, match="stream_text continues one text, not a list"):
        model.stream_text(["a", "b"], tokenizer=None)


def test_a_tokenizer_that_is_none_is_refused(model):
    with pytest.raises(InputError, match="tokenizer is a str, which cannot decode token by token"):
        next(model.stream_text("a", "gpt2"))


def test_an_argument_of_streams_is_not_taken_for_its_own_misspelling(model):
    with pytest.raises(UnknownArgumentError, match="generate has no argument 'chunk_size'") as caught:
        model.generate([[3]], chunk_size=4)

    assert "did you mean 'chunk_size'" not in str(caught.value)


def test_without_a_prompt_there_must_be_a_first_token():
    model = reference.tiny(config=dict(bos_token_id=None))

    with pytest.raises(InputError, match="input_ids is missing, and there is no bos_token_id"):
        model.generate()


def test_parameters_that_are_missing_or_do_not_fit_are_refused(model):
    bare = reference.tiny(_do_init=False)

    with pytest.raises(InputError, match="no parameters of its own"):
        bare.generate([[3]])
    with pytest.raises(CheckpointMismatchError, match="missing"):
        bare.generate([[3]], params={"model": {}})


def test_models_that_do_not_predict_the_next_token_do_not_generate():
    with pytest.raises(InputError, match="FlaxBertModel does not predict the next token.*\n.*AutoModelForCausalLM"):
        FlaxBertModel(BertConfig(**SMALL_BERT)).generate([[3]])


def test_a_bert_that_sees_later_tokens_or_an_encoder_does_not_generate():
    both_ways = FlaxBertForCausalLM(BertConfig(**SMALL_BERT))
    crossed = FlaxBertForCausalLM(BertConfig(**SMALL_BERT, is_decoder=True, add_cross_attention=True))

    with pytest.raises(InputError, match="is_decoder=False"):
        both_ways.generate([[3]])
    with pytest.raises(InputError, match="add_cross_attention=True"):
        crossed.generate([[3]])


def test_options_without_effect_are_reported_and_obeyed_options_are_not(model, caplog):
    model.generate([[3]], max_new_tokens=1, top_k=7)
    assert "top_k=7 has no effect in this generation: only sampling uses it" in caplog.text
    caplog.clear()

    model.generate([[3]], GenerationConfig(max_new_tokens=1, output_scores=True, output_logits=True))

    assert caplog.text == ""
