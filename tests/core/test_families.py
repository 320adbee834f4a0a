"""Configs of OPT and GPT-Neo: published files come back byte for byte, fields fit each other."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import json
import pickle

import pytest

from automodels import config
from automodels.errors import ConfigValueError, UnknownArgumentError
from automodels.families import bert, gpt_neo, opt
from automodels.families.gpt_neo import GPTNeoConfig
from automodels.families.opt import OPTConfig

# As they stand on the Hub.
OPT_125M = """\
{
  "_name_or_path": "facebook/opt-125m",
  "_remove_final_layer_norm": false,
  "activation_dropout": 0.0,
  "activation_function": "relu",
  "architectures": [
    "OPTForCausalLM"
  ],
  "attention_dropout": 0.0,
  "bos_token_id": 2,
  "do_layer_norm_before": true,
  "dropout": 0.1,
  "eos_token_id": 2,
  "ffn_dim": 3072,
  "hidden_size": 768,
  "init_std": 0.02,
  "layerdrop": 0.0,
  "max_position_embeddings": 2048,
  "model_type": "opt",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "pad_token_id": 1,
  "prefix": "</s>",
  "torch_dtype": "float16",
  "transformers_version": "4.21.0.dev0",
  "use_cache": true,
  "vocab_size": 50272,
  "word_embed_proj_dim": 768
}
"""
OPT_350M = """\
{
  "_name_or_path": "opt-350m",
  "_remove_final_layer_norm": false,
  "activation_dropout": 0.0,
  "activation_function": "relu",
  "architectures": [
    "OPTForCausalLM"
  ],
  "attention_dropout": 0.0,
  "bos_token_id": 2,
  "do_layer_norm_before": false,
  "dropout": 0.1,
  "eos_token_id": 2,
  "ffn_dim": 4096,
  "hidden_size": 1024,
  "init_std": 0.02,
  "layerdrop": 0.0,
  "max_position_embeddings": 2048,
  "model_type": "opt",
  "num_attention_heads": 16,
  "num_hidden_layers": 24,
  "pad_token_id": 1,
  "prefix": "</s>",
  "torch_dtype": "float16",
  "transformers_version": "4.20.0.dev0",
  "use_cache": true,
  "vocab_size": 50272,
  "word_embed_proj_dim": 512
}
"""
NEO = {
    "activation_function": "gelu_new",
    "architectures": ["GPTNeoForCausalLM"],
    "attention_dropout": 0,
    "attention_layers": ["global", "local"] * 6,
    "attention_types": [[["global", "local"], 6]],
    "bos_token_id": 50256,
    "embed_dropout": 0,
    "eos_token_id": 50256,
    "gradient_checkpointing": False,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": None,
    "layer_norm_epsilon": 1e-05,
    "max_position_embeddings": 2048,
    "model_type": "gpt_neo",
    "num_heads": 12,
    "num_layers": 12,
    "resid_dropout": 0,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "torch_dtype": "float32",
    "transformers_version": "4.9.0.dev0",
    "use_cache": True,
    "vocab_size": 50257,
    "window_size": 256,
}
GENERATING = {"text-generation": {"do_sample": True, "max_length": 50, "temperature": 0.9}}
NEO_1_3B = {
    **NEO,
    "attention_layers": ["global", "local"] * 12,
    "attention_types": [[["global", "local"], 12]],
    "hidden_size": 2048,
    "num_heads": 16,
    "num_layers": 24,
    "task_specific_params": GENERATING,
    "tokenizer_class": "GPT2Tokenizer",
}
TINY = {"num_layers": 2, "attention_types": [(["global", "local"], 1)], "hidden_size": 8, "num_heads": 2}


def written(raw: dict) -> str:
    return json.dumps(raw, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (OPTConfig, OPT_125M),
        (OPTConfig, OPT_350M),
        (OPTConfig, written({"model_type": "opt", "word_embed_proj_dim": None, "_remove_final_layer_norm": True})),
        (OPTConfig, written({"model_type": "opt", "dtype": "float16", "torch_dtype": "float16"})),
        (GPTNeoConfig, written(NEO)),
        (GPTNeoConfig, written(NEO_1_3B)),
        (GPTNeoConfig, written({"model_type": "gpt_neo", "num_hidden_layers": 24, "num_heads": 8})),
    ],
    ids=["opt-125m", "opt-350m", "old fine-tuned opt", "both dtypes", "gpt-neo-125m", "gpt-neo-1.3b", "other names"],
)
def test_configs_as_published_come_back_byte_for_byte_and_in_silence(tmp_path, log, kind, text):
    (tmp_path / "config.json").write_text(text)

    config = kind.from_pretrained(tmp_path)
    config.save_pretrained(tmp_path)

    assert (tmp_path / "config.json").read_text() == text
    assert pickle.loads(pickle.dumps(config)).to_json_string() == text
    assert copy.deepcopy(config).to_json_string() == text
    assert config.copy_with().to_json_string() == text
    assert log.records == []


@pytest.mark.parametrize(("kind", "published"), [(OPTConfig, json.loads(OPT_125M)), (GPTNeoConfig, NEO_1_3B)])
def test_the_defaults_are_those_of_the_published_base_models(kind, published):
    ours = kind().to_dict()

    said = {"architectures", "prefix", "task_specific_params", "tokenizer_class", "intermediate_size"}
    same = ours.keys() & published.keys() - said
    assert {key: ours[key] for key in same} == {key: published[key] for key in same}
    assert len(same) > 17


# OPT


def test_the_width_of_the_embeddings_is_the_hidden_size_unless_it_is_given():
    config = OPTConfig(hidden_size=24)

    assert config.word_embed_proj_dim == config.to_dict()["word_embed_proj_dim"] == 24
    assert "word_embed_proj_dim" not in config.to_diff_dict()
    config.hidden_size = 36
    assert config.word_embed_proj_dim == 36
    assert OPTConfig.from_dict(json.loads(OPT_350M)).word_embed_proj_dim == 512
    assert OPTConfig(hidden_size=24) == OPTConfig(hidden_size=24, word_embed_proj_dim=24)
    assert config.copy_with(word_embed_proj_dim=12).copy_with(word_embed_proj_dim=None).word_embed_proj_dim == 36


def test_the_switch_with_the_leading_underscore_keeps_it_in_files_only():
    config = OPTConfig(remove_final_layer_norm=True)

    assert config.remove_final_layer_norm is config._remove_final_layer_norm is True
    assert config.to_diff_dict() == {"_remove_final_layer_norm": True, "model_type": "opt"}
    config._remove_final_layer_norm = False
    assert config.remove_final_layer_norm is False
    assert config.to_dict()["_remove_final_layer_norm"] is False
    assert "remove_final_layer_norm" not in config.to_dict()


# GPT-Neo


def test_kinds_of_attention_are_written_out():
    config = GPTNeoConfig(num_layers=5, attention_types=[[["global", "local"], 2], [["local"], 1]])

    assert config.attention_layers == ["global", "local", "global", "local", "local"]
    assert "attention_layers" not in config.to_diff_dict()
    assert GPTNeoConfig().attention_layers == ["global", "local"] * 12


def test_layers_alone_say_enough():
    assert GPTNeoConfig(num_layers=2, attention_layers=["local", "global"]).attention_layers == ["local", "global"]


def test_new_types_replace_the_layers_of_a_file(tmp_path):
    config = GPTNeoConfig.from_dict(NEO)

    changed = config.copy_with(num_layers=2, attention_types=[(["local"], 2)])
    config.save_pretrained(tmp_path)
    read = GPTNeoConfig.from_pretrained(tmp_path, num_hidden_layers=2, attention_types=[(["local"], 2)])

    assert changed.attention_layers == read.attention_layers == ["local", "local"]
    assert changed == read
    assert read.num_layers == read.to_diff_dict()["num_layers"] == 2
    assert changed.to_diff_dict()["attention_types"] == [[["local"], 2]]


def test_the_names_that_other_families_have_work_as_arguments_and_attributes():
    config = GPTNeoConfig(**{**TINY, "num_layers": 2}, num_hidden_layers=2)
    other = GPTNeoConfig(num_hidden_layers=2, num_attention_heads=2, attention_layers=["global"] * 2, hidden_size=8)

    assert (config.num_hidden_layers, config.num_attention_heads) == (2, 2)
    assert (other.num_layers, other.num_heads) == (2, 2)
    other.num_attention_heads = 4
    assert other.num_heads == 4
    assert other.to_diff_dict()["num_attention_heads"] == 4
    with pytest.raises(UnknownArgumentError, match="did you mean 'num_attention_heads'"):
        GPTNeoConfig.overrides({"num_atention_heads": 4})


def test_the_feed_forward_layers_are_four_times_as_wide_unless_it_is_given():
    config = GPTNeoConfig(**TINY)

    assert config.intermediate_size == 32
    config.intermediate_size = 20
    assert config.to_diff_dict()["intermediate_size"] == 20
    assert GPTNeoConfig.from_dict(NEO).intermediate_size == 3072
    assert GPTNeoConfig.from_dict(NEO).to_diff_dict()["intermediate_size"] is None


IMPOSSIBLE = {
    "opt heads": (OPTConfig, {"num_attention_heads": 7}, "hidden_size 768 is not a multiple of num_attention_heads 7"),
    "opt padding": (OPTConfig, {"vocab_size": 1}, "pad_token_id 1 is outside a vocabulary of 1"),
    "opt skipping": (OPTConfig, {"layerdrop": 1.5}, "layerdrop is 1.5: input should be less than or equal to 1"),
    "opt no spread": (OPTConfig, {"init_std": 0}, "init_std is 0: input should be greater than 0"),
    "opt activation": (OPTConfig, {"activation_function": "mish"}, "activation_function is 'mish'"),
    "opt projection": (OPTConfig, {"word_embed_proj_dim": 0}, "word_embed_proj_dim is 0: input should be greater"),
    "opt norm": (
        OPTConfig,
        {"_remove_final_layer_norm": 1},
        "_remove_final_layer_norm (remove_final_layer_norm) is 1: input",
    ),
    "opt type": (OPTConfig, {"model_type": "bert"}, "OPTConfig is for 'opt'; this config is for 'bert'"),
    "neo heads": (GPTNeoConfig, {"num_heads": 3}, "hidden_size 2048 is not a multiple of num_heads 3"),
    "neo too few": (GPTNeoConfig, {"num_layers": 12}, "attention_types describe 24 layers, but num_layers is 12"),
    "neo layers": (GPTNeoConfig, {"attention_layers": ["local"]}, "attention_layers describe 1 layers, but num_layers"),
    "neo endless": (GPTNeoConfig, {"attention_types": [[["local"], 10**9]]}, "attention_types.0.1 is 1000000000"),
    "neo many": (GPTNeoConfig, {"attention_types": [[["local"] * 999, 9999]]}, "describe 9989001 layers"),
    "neo kind": (GPTNeoConfig, {"attention_types": [[["locl"], 24]]}, "attention_types.0.0.0 is 'locl'"),
    "neo shape": (GPTNeoConfig, {"attention_types": ["local"]}, "attention_types.0 is 'local'"),
    "neo none": (GPTNeoConfig, {"attention_types": []}, "attention_types describe 0 layers"),
    "neo window": (GPTNeoConfig, {"window_size": 0}, "window_size is 0: input should be greater than 0"),
    "neo contradiction": (
        GPTNeoConfig,
        {"attention_types": [[["local"], 24]], "attention_layers": ["global"] * 24},
        "attention_layers are not what attention_types written out are",
    ),
    "neo spellings": (GPTNeoConfig, {"num_heads": 8, "num_attention_heads": 16}, "num_heads is 8 and num_attention"),
}


@pytest.mark.parametrize(("kind", "values", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
@pytest.mark.parametrize("make", ["file", "call"])
def test_an_impossible_value_is_refused_with_field_and_reason(make, kind, values, message):
    with pytest.raises(ConfigValueError) as caught:
        kind.from_dict(values) if make == "file" else kind(**values)

    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 12


def test_the_error_about_the_number_of_layers_says_what_to_do():
    with pytest.raises(ConfigValueError, match=r"attention_types=\[\(\['global'\], 2\)\]"):
        GPTNeoConfig(num_layers=2)


# Every config


def test_an_assignment_must_fit_the_other_fields():
    config = OPTConfig()

    with pytest.raises(ConfigValueError, match="not a multiple"):
        config.num_attention_heads = 7
    config.update({"num_attention_heads": 7, "hidden_size": 14})

    assert (config.num_attention_heads, config.word_embed_proj_dim) == (7, 14)


def test_an_override_in_another_spelling_replaces_the_value_of_the_file():
    raw = {"model_type": "gpt_neo", "num_hidden_layers": 24, "torch_dtype": "float16", "dtype": "float16"}

    config = GPTNeoConfig.from_dict(raw, dtype="float32", num_heads=8)

    assert config.to_diff_dict() == {**raw, "torch_dtype": "float32", "dtype": "float32", "num_heads": 8}


@pytest.mark.parametrize("module", [bert, gpt_neo, opt, config])
def test_every_field_has_a_docstring(module):
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]

    for field, after in [pair for kind in classes for pair in itertools.pairwise(kind.body)]:
        if isinstance(field, ast.AnnAssign) and not ast.unparse(field.annotation).startswith("ClassVar"):
            assert isinstance(after, ast.Expr), ast.unparse(field)
            assert isinstance(after.value.value, str), ast.unparse(field)
