"""GenerationConfig: files come back, impossible and unimplemented options are refused, the stronger place counts."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import json
import pickle

import pytest

from automodels import GenerationConfig
from automodels.config import _SILENT_KEYS
from automodels.errors import (
    CheckpointNotFoundError,
    ConfigFileError,
    ConfigValueError,
    InputError,
    UnknownArgumentError,
    UnsupportedConfigError,
)
from automodels.families.bert import BertConfig
from automodels.families.gpt_neo import GPTNeoConfig
from automodels.families.opt import OPTConfig
from automodels.generation import Lengths, config, lengths, resolved
from automodels.generation.unimplemented import NEUTRAL, SILENT

# GenerationConfig().to_dict() of transformers 4.57.6, less transformers_version
DEFAULTS = {
    "assistant_confidence_threshold": 0.4, "assistant_early_exit": None, "assistant_lookbehind": 10,
    "bad_words_ids": None, "begin_suppress_tokens": None, "bos_token_id": None, "cache_config": None,
    "cache_implementation": None, "constraints": None, "decoder_start_token_id": None, "disable_compile": False,
    "diversity_penalty": 0.0, "do_sample": False, "dola_layers": None, "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0, "encoder_repetition_penalty": 1.0, "eos_token_id": None,
    "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "exponential_decay_length_penalty": None, "force_words_ids": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "guidance_scale": None, "is_assistant": False,
    "length_penalty": 1.0, "low_memory": None, "max_length": 20, "max_matching_ngram_size": None,
    "max_new_tokens": None, "max_time": None, "min_length": 0, "min_new_tokens": None, "min_p": None,
    "no_repeat_ngram_size": 0, "num_assistant_tokens": 20, "num_assistant_tokens_schedule": "constant",
    "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1, "output_attentions": False,
    "output_hidden_states": False, "output_logits": None, "output_scores": False, "pad_token_id": None,
    "penalty_alpha": None, "prefill_chunk_size": None, "prompt_lookup_num_tokens": None,
    "remove_invalid_values": False, "renormalize_logits": False, "repetition_penalty": 1.0,
    "return_dict_in_generate": False, "return_legacy_cache": None, "sequence_bias": None, "stop_strings": None,
    "suppress_tokens": None, "target_lookbehind": 10, "temperature": 1.0, "token_healing": False, "top_k": 50,
    "top_p": 1.0, "typical_p": 1.0, "use_cache": True, "watermarking_config": None,
}  # fmt: skip

# As they stand on the Hub.
OPT = """\
{
  "_from_model_config": true,
  "bos_token_id": 2,
  "eos_token_id": 2,
  "pad_token_id": 1,
  "transformers_version": "4.27.0.dev0"
}
"""
CHAT = """\
{
  "bos_token_id": 128000,
  "do_sample": true,
  "eos_token_id": [
    128001,
    128008,
    128009
  ],
  "max_length": 4096,
  "temperature": 0.6,
  "top_p": 0.9,
  "transformers_version": "4.42.3"
}
"""
ODD = """\
{
  "bad_words_ids": [
    [
      7
    ]
  ],
  "cache_implementation": "hybrid",
  "exponential_decay_length_penalty": [
    15,
    1.6
  ],
  "house_colour": "red",
  "min_p": 0,
  "num_beam_groups": 1,
  "sequence_bias": [
    [
      [
        3,
        4
      ],
      -2
    ]
  ],
  "stop_strings": [
    "\\n\\n"
  ],
  "temperature": null
}
"""


def write(folder, name="generation_config.json", **content):
    (folder / name).write_text(json.dumps(content))
    return folder


# Files


@pytest.mark.parametrize("text", [OPT, CHAT, ODD, json.dumps(DEFAULTS, indent=2, sort_keys=True) + "\n"])
def test_files_come_back_byte_for_byte(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text)

    config = GenerationConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path)

    assert (tmp_path / "generation_config.json").read_text() == text
    assert pickle.loads(pickle.dumps(config)).to_json_string() == text
    assert copy.deepcopy(config) == config.copy_with() == config
    assert config.name_or_path == str(tmp_path)


def test_names_and_defaults_are_those_of_transformers():
    ours = GenerationConfig().to_dict()

    assert ours == {name: DEFAULTS[name] for name in ours}
    assert DEFAULTS.keys() <= ours.keys() | NEUTRAL.keys() | SILENT
    assert all(DEFAULTS[name] in neutral for name, neutral in NEUTRAL.items() if name in DEFAULTS)
    assert GenerationConfig(**DEFAULTS) == GenerationConfig.from_dict(DEFAULTS)


def test_only_what_was_given_or_changed_is_written():
    config = GenerationConfig(temperature=1, max_new_tokens=5)

    config.do_sample = True
    config.update({"top_k": 3, "top_p": None})

    assert config.to_diff_dict() == {
        "temperature": 1, "max_new_tokens": 5, "do_sample": True, "top_k": 3, "top_p": None
    }  # fmt: skip
    assert config.to_dict().keys() == GenerationConfig.model_fields.keys()
    assert GenerationConfig.from_dict(json.loads(config.to_json_string(use_diff=False))) == config


def test_unknown_keys_of_a_file_are_kept_written_back_and_reported_once(tmp_path, log):
    write(tmp_path, max_new_token=3, house_colour="red", transformers_version="4.1", num_assistant_tokens=5)

    configs = [GenerationConfig.from_pretrained(tmp_path) for _ in range(3)]

    assert configs[0].house_colour == "red"
    assert configs[0].copy_with(top_k=1, house_colour="blue").to_diff_dict()["house_colour"] == "blue"
    said = "GenerationConfig does not know 'max_new_token' (did you mean 'max_new_tokens'?), 'house_colour'; kept, and"
    assert [record.getMessage()[: len(said)] for record in log.records] == [said]


def test_options_override_a_file_and_unknown_ones_are_refused(tmp_path):
    write(tmp_path, do_sample=True, top_k=5)

    assert GenerationConfig.from_pretrained(tmp_path, top_k=7, subfolder=".").top_k == 7
    with pytest.raises(UnknownArgumentError, match="'topk'; did you mean 'top_k'"):
        GenerationConfig.from_pretrained(tmp_path, topk=7)


def test_without_the_file_old_keys_of_the_model_config_count(tmp_path):
    legacy = {"model_type": "opt", "max_length": 50, "top_k": 50, "eos_token_id": [2, 3], "min_length": None, "x": 1}
    write(tmp_path, "config.json", **legacy)

    found = GenerationConfig.from_pretrained(tmp_path, num_beams=3)

    assert found.to_diff_dict() == {"max_length": 50, "eos_token_id": [2, 3], "num_beams": 3}
    write(tmp_path, top_k=3)
    assert GenerationConfig.from_pretrained(tmp_path).to_diff_dict() == {"top_k": 3}


def test_a_checkpoint_with_neither_file_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"config\.json"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"top_k": 1, "top_k": 2}')
    with pytest.raises(ConfigFileError, match="'top_k' stands there twice"):
        GenerationConfig.from_pretrained(tmp_path)
    write(tmp_path, top_k=-1)
    with pytest.raises(ConfigValueError, match=r"generation_config\.json of .*\n *top_k is -1"):
        GenerationConfig.from_pretrained(tmp_path)


def test_the_file_comes_from_the_hub(fake_hub):
    fake_hub.add("house/opt", {"config.json": b'{"model_type": "opt"}', "generation_config.json": OPT.encode()})
    fake_hub.add("house/old", {"config.json": b'{"model_type": "opt", "num_beams": 4}'})

    assert GenerationConfig.from_pretrained("house/opt").to_json_string() == OPT
    assert GenerationConfig.from_pretrained("house/opt", local_files_only=True).pad_token_id == 1
    assert GenerationConfig.from_pretrained("house/old").num_beams == 4


# Model configs


def test_what_a_model_config_says_is_taken():
    assert GenerationConfig.from_model_config(OPTConfig()).to_diff_dict() == {
        "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1
    }  # fmt: skip
    assert GenerationConfig.from_model_config(GPTNeoConfig(use_cache=False)).to_diff_dict() == {
        "bos_token_id": 50256, "eos_token_id": 50256, "use_cache": False
    }  # fmt: skip
    old = BertConfig.from_dict({"temperature": 0.7, "num_beams": 1, "output_attentions": True, "eos_token_id": []})
    assert GenerationConfig.from_model_config(old).to_diff_dict() == {"pad_token_id": 0, "temperature": 0.7}


def test_every_old_key_that_is_kept_in_silence_is_understood():
    generation = {*GenerationConfig.model_fields, *NEUTRAL}

    old = {key for key in _SILENT_KEYS if key in DEFAULTS}

    assert old <= generation
    assert len(old) > 20


def test_old_keys_that_are_not_implemented_are_refused():
    with pytest.raises(UnsupportedConfigError, match="num_beam_groups is 2"):
        GenerationConfig.from_model_config({"num_beams": 4, "num_beam_groups": 2})


# Impossible, unimplemented, useless

IMPOSSIBLE = {
    "no temperature": ({"temperature": 0}, "temperature is 0: input should be greater than 0"),
    "text": ({"temperature": "0.5"}, "temperature is '0.5': input should be a valid number"),
    "true": ({"top_p": True}, "top_p is True: input should be a valid number"),
    "nan": ({"length_penalty": float("nan")}, "length_penalty is nan: input should be a finite number"),
    "negative k": ({"top_k": -1}, "top_k is -1: input should be greater than or equal to 0"),
    "half k": ({"top_k": 0.5}, "top_k is 0.5: input should be a valid integer"),
    "probability": ({"top_p": 1.5}, "top_p is 1.5: input should be less than or equal to 1"),
    "min p": ({"min_p": -0.1}, "min_p is -0.1"),
    "typical": ({"typical_p": 0}, "typical_p is 0: input should be greater than 0"),
    "cutoff": ({"epsilon_cutoff": 1}, "epsilon_cutoff is 1: input should be less than 1"),
    "repetition": ({"repetition_penalty": 0}, "repetition_penalty is 0: input should be greater than 0"),
    "no tokens": ({"max_new_tokens": 0}, "max_new_tokens is 0: input should be greater than 0"),
    "no beams": ({"num_beams": 0}, "num_beams is 0: input should be greater than 0"),
    "null beams": ({"num_beams": None}, "num_beams is None: input should be a valid integer"),
    "flag": ({"do_sample": 1}, "do_sample is 1: input should be a valid boolean"),
    "stopping": ({"early_stopping": "always"}, "early_stopping"),
    "no end": ({"eos_token_id": []}, "eos_token_id is []: list should have at least 1 item"),
    "negative end": ({"eos_token_id": -1}, "eos_token_id is -1: input should be greater than or equal to 0"),
    "empty word": ({"bad_words_ids": [[]]}, "bad_words_ids.0 is []: list should have at least 1 item"),
    "no words": ({"bad_words_ids": []}, "bad_words_ids is []"),
    "flat words": ({"bad_words_ids": [5]}, "bad_words_ids.0 is 5"),
    "empty text": ({"stop_strings": ""}, "stop_strings"),
    "no texts": ({"stop_strings": []}, "stop_strings"),
    "no time": ({"max_time": 0}, "max_time is 0"),
    "bias": ({"sequence_bias": {(1,): float("inf")}}, "sequence_bias.0.1 is inf"),
    "bias of nothing": ({"sequence_bias": {(): 1.0}}, "sequence_bias.0.0 is []"),
    "bias of one": ({"sequence_bias": {1: 1.0}}, "sequence_bias.0.0 is 1: input should be a valid list"),
    "bias twice": ({"sequence_bias": [[[1], 1.0], [[1], 2.0]]}, "two entries for the same tokens"),
    "decay": ({"exponential_decay_length_penalty": [5]}, "exponential_decay_length_penalty"),
    "decay factor": ({"exponential_decay_length_penalty": [5, 0]}, "exponential_decay_length_penalty.1 is 0"),
    "copies": ({"num_return_sequences": 2}, "num_return_sequences is 2, but without beams and sampling all of them"),
    "beams": ({"num_return_sequences": 4, "num_beams": 3}, "num_return_sequences is 4, but num_beams is only 3"),
    "drawn beams": ({"num_return_sequences": 4, "num_beams": 3, "do_sample": True}, "but num_beams is only 3"),
    "new lengths": ({"min_new_tokens": 4, "max_new_tokens": 3}, "min_new_tokens is 4, but max_new_tokens is 3"),
    "lengths": ({"min_length": 40, "max_length": 30}, "min_length is 40, but max_length is 30"),
}


@pytest.mark.parametrize(("options", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_impossible_options_are_refused_naming_them(options, message):
    makers = [
        GenerationConfig.from_dict,
        lambda options: GenerationConfig(**options),
        lambda options: GenerationConfig().copy_with(**options),
        lambda options: GenerationConfig().update(options),
        resolved,
    ]
    for make in makers:
        with pytest.raises(ConfigValueError) as caught:
            make(options)

        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 12


def test_possible_combinations_are_taken():
    for options in (
        {"num_return_sequences": 5, "do_sample": True},
        {"num_return_sequences": 3, "num_beams": 3},
        {"min_length": 40},  # the greatest length will come from elsewhere
        {"min_length": 40, "max_length": 30, "max_new_tokens": 100},
        {"early_stopping": "never", "num_beams": 2},
        {"sequence_bias": {(1, 2): -1.5, (3,): 2}},
        {"eos_token_id": [1, 2], "forced_eos_token_id": [1, 2], "stop_strings": "end"},
        {"temperature": None, "top_k": None, "top_p": None, "typical_p": None, "length_penalty": None},
    ):
        assert GenerationConfig.from_dict(GenerationConfig(**options).to_diff_dict()) == GenerationConfig(**options)


UNIMPLEMENTED = {
    "num_beam_groups": 2, "diversity_penalty": 0.5, "penalty_alpha": 0.6, "constraints": [1], "force_words_ids": [[1]],
    "dola_layers": "high", "use_mtp": True, "prompt_lookup_num_tokens": 3, "assistant_early_exit": 4,
    "assistant_ensemble_weight": 0.5, "speculation_type": "x", "is_assistant": True, "guidance_scale": 1.5,
    "watermarking_config": {"bias": 2.5}, "encoder_repetition_penalty": 1.1, "encoder_no_repeat_ngram_size": 2,
    "top_h": 0.3, "remove_invalid_values": True, "token_healing": True, "cache_implementation": "quantized",
    "output_attentions": True, "output_hidden_states": True,
}  # fmt: skip


@pytest.mark.parametrize("name", NEUTRAL)
def test_what_is_not_implemented_is_refused_by_name_unless_it_changes_nothing(name, log):
    for make in (lambda **options: GenerationConfig.from_dict(options), GenerationConfig, lambda **o: resolved(o)):
        with pytest.raises(UnsupportedConfigError, match=f"{name} is "):
            make(**{name: UNIMPLEMENTED[name]})
        for neutral in NEUTRAL[name]:
            assert make(**{name: neutral}) == make(**{name: neutral})
    with pytest.raises(UnsupportedConfigError, match=f"{name} is "):
        GenerationConfig().update({name: UNIMPLEMENTED[name]})
    assert log.records == []


def test_all_unimplemented_options_are_named_at_once():
    with pytest.raises(UnsupportedConfigError, match=r"penalty_alpha is 0\.6\n +guidance_scale is 2"):
        GenerationConfig(guidance_scale=2, penalty_alpha=0.6)


def test_a_misspelt_option_is_refused_with_its_nearest_name():
    for make in (GenerationConfig, GenerationConfig().copy_with, lambda **options: resolved(options)):
        with pytest.raises(UnknownArgumentError, match="no argument 'max_new_token'; did you mean 'max_new_tokens'"):
            make(max_new_token=3)
    with pytest.raises(UnknownArgumentError, match="did you mean 'temperature'"):
        GenerationConfig().temprature = 0.5


def test_options_without_effect_are_known_with_the_reason():
    assert GenerationConfig(temperature=0.5, top_k=50, min_p=0.1, length_penalty=2.0, output_scores=True).unused() == {
        "temperature": "only sampling uses it (do_sample=True)",
        "min_p": "only sampling uses it (do_sample=True)",
        "length_penalty": "only beam search uses it (num_beams above 1)",
        "output_scores": "only an object can hold it (return_dict_in_generate=True)",
    }
    assert GenerationConfig(temperature=0.5, do_sample=True, early_stopping=True, num_beams=2).unused() == {}


def test_options_of_a_call_without_effect_are_reported_once_and_those_of_a_file_never(log):
    saved = GenerationConfig(do_sample=True, temperature=0.6, top_p=0.9)

    for _ in range(2):
        resolved({"do_sample": False}, saved=saved)
        resolved({"max_new_tokens": 5, "max_length": 30}, given=GenerationConfig(length_penalty=2.0))

    assert [record.getMessage() for record in log.records] == [
        "length_penalty=2.0 has no effect in this generation: only beam search uses it (num_beams above 1).",
        "max_length=30 has no effect in this generation: max_new_tokens wins.",
    ]


# Layers


def test_the_call_wins_over_the_given_config_over_the_file_over_the_model_over_the_defaults():
    model = GPTNeoConfig.from_dict({"top_k": 1, "top_p": 0.1, "min_length": 1, "no_repeat_ngram_size": 1})
    saved = GenerationConfig(do_sample=True, top_k=2, top_p=0.2, min_length=2)
    given = GenerationConfig(top_k=3, top_p=0.3)

    config = resolved({"top_k": 4}, given=given, saved=saved, model=model)

    assert (config.top_k, config.top_p, config.min_length, config.no_repeat_ngram_size) == (4, 0.3, 2, 1)
    assert (config.do_sample, config.eos_token_id, config.temperature) == (True, 50256, 1.0)
    assert resolved({}) == GenerationConfig()


def test_a_default_that_was_given_wins_over_weaker_places():
    saved = GenerationConfig(do_sample=True, temperature=0.5, eos_token_id=3)

    config = resolved({"eos_token_id": None}, given=GenerationConfig(temperature=1.0, do_sample=False), saved=saved)

    assert (config.temperature, config.do_sample, config.eos_token_id) == (1.0, False, None)


def test_of_two_lengths_the_one_in_the_stronger_place_counts():
    saved = GenerationConfig(max_new_tokens=100, min_new_tokens=50)

    shorter = resolved({"max_length": 30, "min_length": 5}, saved=saved)
    longer = resolved({"max_new_tokens": 7}, saved=GenerationConfig(max_length=30, min_length=5))
    both = resolved({"max_length": 30, "max_new_tokens": 7})

    assert lengths(shorter, 10) == Lengths(prompt=10, longest=30, shortest=5)
    assert lengths(longer, 10) == Lengths(prompt=10, longest=17, shortest=5)
    assert lengths(both, 10).new == 7


# Lengths


def test_without_a_word_about_lengths_twenty_tokens_are_new_or_as_many_as_fit():
    file = GenerationConfig(max_length=20)

    assert lengths(resolved({}), 100) == Lengths(prompt=100, longest=120, shortest=0)
    assert lengths(resolved({}, saved=file, model={"max_length": 20}), 100).new == 20
    assert lengths(resolved({}), 100, positions=110).new == 10
    with pytest.raises(InputError, match="prompt has 100 tokens, and max_length, which counts them too, is 20"):
        lengths(resolved({}, given=file), 100)


def test_the_least_length_never_exceeds_the_greatest():
    assert lengths(GenerationConfig(min_length=50), 10).shortest == 30
    assert lengths(GenerationConfig(min_new_tokens=5, min_length=90), 10).shortest == 15


@pytest.mark.parametrize(
    ("options", "prompt", "said"),
    [
        ({}, 0, "The prompt is empty"),
        ({}, 16, "The prompt has 16 tokens, which leaves no room: the model has 16 positions"),
        ({"max_new_tokens": 7}, 10, r"10 tokens and 7 new ones make 17, .* 16 positions[\s\S]*max_new_tokens=6"),
        ({"max_length": 17}, 10, "7 new ones make 17"),
        ({"max_length": 10}, 10, r"max_length, which counts them too, is 10[\s\S]*max_new_tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(options, prompt, said):
    with pytest.raises(InputError, match=said):
        lengths(GenerationConfig(**options), prompt, positions=16)


# Reading


def test_options_are_read_in_one_form():
    one = GenerationConfig(eos_token_id=3, forced_eos_token_id=3, stop_strings="a")
    two = GenerationConfig(eos_token_id=[3, 4], stop_strings=["a", "b"], sequence_bias={(1, 2): 2})

    assert (one.eos_token_ids, one.forced_eos_token_ids, one.stop_texts) == ((3,), (3,), ("a",))
    assert (two.eos_token_ids, two.forced_eos_token_ids, two.stop_texts) == ((3, 4), (), ("a", "b"))
    assert two.sequence_bias == [([1, 2], 2)]
    assert GenerationConfig().eos_token_ids == GenerationConfig().stop_texts == ()


def test_the_mode_follows_from_sampling_and_beams():
    modes = {(n, s): GenerationConfig(num_beams=n, do_sample=s).mode for n in (1, 2) for s in (False, True)}

    assert modes == {(1, False): "greedy", (1, True): "sample", (2, False): "beam", (2, True): "beam-sample"}


def test_tokens_outside_the_vocabulary_are_named():
    config = GenerationConfig(
        eos_token_id=99,
        bad_words_ids=[[1, 12]],
        suppress_tokens=[3, 10],
        forced_bos_token_id=9,
        sequence_bias={(11,): 1},
    )

    config.check_vocabulary(13)
    with pytest.raises(
        ConfigValueError,
        match="12 in bad_words_ids, 11 in sequence_bias, 10 in suppress_tokens: outside a vocabulary of 10",
    ):
        config.check_vocabulary(10)


def test_every_option_has_a_docstring():
    body = next(
        node for node in ast.parse(inspect.getsource(config)).body
        if isinstance(node, ast.ClassDef) and node.name == "GenerationConfig"
    ).body  # fmt: skip

    for field, after in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.annotation).startswith("ClassVar"):
            assert isinstance(after, ast.Expr), ast.unparse(field)
