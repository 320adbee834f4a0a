"""What generate refuses in PyTorch, and what it says."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from generation_models import tiny  # noqa: E402

from automodels.errors import ConfigValueError, InputError, UnknownArgumentError, UnsupportedConfigError  # noqa: E402
from automodels.generation import GenerationConfig  # noqa: E402
from torch_heads import BertConfig, BertLMHeadModel, OPTConfig, OPTModel  # noqa: E402


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(input_ids=[[3] * 40]), "The prompt has 40 tokens, which leaves no room: the model has 40 positions"),
        (dict(input_ids=[[3] * 35], max_new_tokens=6), "35 tokens and 6 new ones make 41.*only 40 positions"),
        (
            dict(input_ids=[[3] * 5], max_length=5),
            "has 5 tokens, and max_length, which counts them too, is 5",
        ),
        (dict(input_ids=torch.tensor([[3, 31]])), "input_ids has the value 31; the vocabulary has ids 0 to 30"),
        (dict(input_ids=[[3, -1]]), "input_ids has the value -1"),
        (dict(input_ids=torch.tensor([[3.0, 4.0]])), "input_ids holds float32, not whole numbers"),
        (dict(input_ids=torch.tensor([3, 4])), r"input_ids has shape \[2\]; a prompt is \[batch, tokens\]"),
        (dict(input_ids=torch.zeros(0, 4, dtype=torch.long)), r"input_ids has shape \[0, 4\]"),
        (dict(input_ids=torch.zeros(2, 0, dtype=torch.long)), r"input_ids has shape \[2, 0\]"),
        (dict(input_ids=[[3, 4], [5]]), "input_ids is no array.*\n.*Pad the rows on the left"),
        (dict(input_ids=[[3, 4]], attention_mask=[[1]]), r"attention_mask has shape \[1, 1\], input_ids \[1, 2\]"),
        (dict(input_ids=[[3, 4]], attention_mask=torch.ones(1, 2)), "attention_mask holds float32"),
        (
            dict(input_ids=[[3, 4], [3, 0]], attention_mask=[[1, 1], [1, 0]]),
            "Row 1 of the prompt ends in padding; .*\n.*padding_side",
        ),
        (dict(input_ids=[[3, 4]], attention_mask=[[0, 0]]), "Row 0 of the prompt is padding alone"),
        (dict(input_ids=[[3]], generation_config={"top_k": 3}), "generation_config is a dict, not a GenerationConfig"),
        (dict(input_ids=[[3]], stop_strings="x"), "stop_strings needs the tokenizer, and there is none"),
        (dict(input_ids=[[3]], stop_strings="x", tokenizer=3), "tokenizer is a int"),
        (dict(input_ids=[[3]], logits_processor=max), "logits_processor is a builtin_function_or_method, not a list"),
        (
            dict(input_ids=[[3]], logits_processor=[lambda ids: ids]),
            r"logits_processor has .*which does not take \(ids, scores\)",
        ),
        (
            dict(input_ids=[[3]], stopping_criteria=[abs]),
            r"stopping_criteria has .*which does not take \(ids, scores\)",
        ),
        (dict(input_ids=[[3]], stopping_criteria=[3]), "stopping_criteria has 3, which is no function"),
        (dict(input_ids=[[3]], do_sample=True, generator=7), "generator is a int, not a torch.Generator"),
        (dict(input_ids=[[3]], do_sample=True, generator=[torch.Generator()] * 2), "2 generators for 1 prompts"),
        (
            dict(input_ids=[[3]], do_sample=True, generator=torch.Generator(), seed=1),
            "generator and seed are both given",
        ),
        (dict(input_ids=[[3]], do_sample=True, seed=1.5), "seed is 1.5, not a whole number"),
        (dict(input_ids=[[3]], compile=3), "compile is 3, not True, False or a backend of torch.compile"),
        (dict(input_ids=[[3]], num_beams=2, streamer=object()), "num_beams is 2: beam search knows its first token"),
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
        ("generators", "generator"),
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


def test_functions_that_return_something_else_are_refused(model):
    with pytest.raises(InputError, match=r"logits processor returned the shape \[1\]; it was given \[1, 31\]"):
        model.generate([[3]], logits_processor=[lambda ids, scores: scores[:, 0]])
    with pytest.raises(InputError, match="logits processor returned a NoneType"):
        model.generate([[3]], logits_processor=[lambda ids, scores: None])
    with pytest.raises(InputError, match=r"stopping criterion returned the shape \[1, 31\]; it needs \[\] or \[1\]"):
        model.generate([[3]], stopping_criteria=[lambda ids, scores: scores > 0])


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


def test_without_a_prompt_there_must_be_a_first_token(model):
    assert model.generate(max_new_tokens=2).tolist() == model.generate([[1]], max_new_tokens=2).tolist()
    with pytest.raises(InputError, match="input_ids is missing, and there is no bos_token_id"):
        tiny(bos_token_id=None).generate()


def test_models_that_do_not_predict_the_next_token_do_not_generate():
    config = OPTConfig(vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, ffn_dim=20)

    assert not OPTModel.can_generate()
    with pytest.raises(InputError, match="OPTModel does not predict the next token.*\n.*AutoModelForCausalLM"):
        OPTModel(config).generate([[3]])


def test_a_bert_that_sees_later_tokens_or_an_encoder_does_not_generate():
    sizes = dict(vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20)
    both_ways = BertLMHeadModel(BertConfig(**sizes))
    crossed = BertLMHeadModel(BertConfig(**sizes, is_decoder=True, add_cross_attention=True))

    with pytest.raises(InputError, match="is_decoder=False"):
        both_ways.generate([[3]])
    with pytest.raises(InputError, match="add_cross_attention=True"):
        crossed.generate([[3]])


def test_options_without_effect_are_reported_and_obeyed_options_are_not(model, caplog):
    model.generate([[3]], max_new_tokens=1, top_k=7)
    assert "top_k=7 has no effect in this generation: only sampling uses it" in caplog.text
    caplog.clear()

    model.generate([[3]], GenerationConfig(max_new_tokens=1, output_scores=True, return_dict_in_generate=True))

    assert caplog.text == ""
