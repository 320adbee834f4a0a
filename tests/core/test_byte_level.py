"""GPT-2's kind of tokenizer: equal to transformers', whole characters while streaming, clear about broken files."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels import AutoTokenizer
from automodels.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    ConfigFileError,
    ConfigValueError,
    InputError,
    UnsupportedConfigError,
)

FOLDER = Path(__file__).parents[1] / "golden" / "bpe"
GOLDEN = json.loads((FOLDER / "tokens.json").read_text(encoding="utf-8"))
VARIANTS = [name for name, value in GOLDEN.items() if isinstance(value, dict) and "config" in value]
VOCABULARY = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
PAIR_OF_FILES = ("vocab.json", "merges.txt")


def write(folder: Path, *names: str, **config) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or PAIR_OF_FILES:
        shutil.copy(FOLDER / name, folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def written_out(text):
    return text["repeat"][0] * text["repeat"][1] if isinstance(text, dict) else text


TEXTS = [written_out(text) for text in GOLDEN["texts"]]


@pytest.fixture(scope="module", params=[*VARIANTS, "fast in one file", "prefix in one file"])
def real(request, tmp_path_factory):
    """A tokenizer and what transformers gave for its settings."""
    name, _, files = request.param.partition(" in ")
    entry = GOLDEN[name]
    names = ("tokenizer.json",) if files else PAIR_OF_FILES
    return AutoTokenizer.from_pretrained(write(tmp_path_factory.mktemp("bpe"), *names, **entry["config"])), entry


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "small", eos_token="</s>", pad_token="<pad>")


@pytest.fixture
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


# Equal to transformers


def test_every_text_gets_the_ids_of_transformers(real):
    tokenizer, entry = real

    assert [tokenizer(text).input_ids for text in TEXTS] == entry["texts"]
    assert tokenizer(TEXTS).input_ids == entry["texts"]
    assert tokenizer.encode_ids(TEXTS) == entry["texts"]


def test_pairs_and_calls_are_those_of_transformers(real):
    tokenizer, entry = real

    assert [tokenizer(a, b).input_ids for a, b in GOLDEN["pairs"]] == entry["pairs"]
    for call, encoding in zip(GOLDEN["calls"], entry["calls"], strict=True):
        assert tokenizer(**call) == encoding, call


def test_ids_become_the_texts_of_transformers(real):
    tokenizer, entry = real

    assert tokenizer.batch_decode(GOLDEN["decoded"]) == entry["decoded"]
    assert tokenizer.batch_decode(GOLDEN["decoded"], skip_special_tokens=True) == entry["without_special_tokens"]
    assert tokenizer.batch_decode(entry["texts"]) == entry["back"]


def test_texts_without_bos_come_back_as_they_were(tokenizer):
    assert tokenizer.batch_decode(tokenizer(TEXTS).input_ids) == TEXTS


# Settings


def test_roles_about_which_nothing_is_said_are_those_of_gpt2(tmp_path, tokenizer):
    silent = AutoTokenizer.from_pretrained(write(tmp_path / "silent"))

    assert (silent.bos_token, silent.eos_token, silent.unk_token) == ("<|endoftext|>",) * 3
    assert (silent.pad_token, silent.eos_token_id, len(silent)) == (None, 4, 520)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token_id) == ("<|endoftext|>", "</s>", 1)


def test_the_older_file_of_roles_counts(tmp_path):
    folder = write(tmp_path, tokenizer_class="GPT2Tokenizer", add_bos_token=True)
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"bos_token": "</s>", "pad_token": {"content": "<pad>"}})
    )

    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert tokenizer("").input_ids == [2]
    assert tokenizer("", add_special_tokens=False).input_ids == []
    assert tokenizer.pad_token_id == 1


def test_tokens_added_later_have_the_ids_of_their_embeddings(tmp_path):
    folder = write(tmp_path)
    (folder / "added_tokens.json").write_text('{"<two>": 521, "<one>": 520}')

    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert tokenizer("<one><two>").input_ids == [520, 521]
    assert len(tokenizer) == 522


def test_the_files_come_from_the_hub(fake_hub):
    files = {name: (FOLDER / name).read_bytes() for name in PAIR_OF_FILES}
    config = json.dumps({"tokenizer_class": "GPT2Tokenizer"}).encode()
    more = {"tokenizer_config.json": config, "added_tokens.json": b'{"<one>": 520}', "config.json": b"{}"}
    fake_hub.add("house/bpe", {**files, **more, "pytorch_model.bin": b"x"})

    assert AutoTokenizer.from_pretrained("house/bpe")("<one> a").input_ids[0] == 520
    assert not any("pytorch_model" in path for path in fake_hub.asked(path="/resolve/"))


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({"tokenizer_class": "RobertaTokenizer"}, {}),
        ({"tokenizer_class": "CLIPTokenizerFast"}, {}),
        ({}, {"tokenizer_class": "Qwen2Tokenizer"}),
        ({}, {"model_type": "roberta"}),
    ],
)
def test_files_of_the_same_names_with_other_rules_are_refused(tmp_path, config, model):
    folder = write(tmp_path, **config)
    (folder / "config.json").write_text(json.dumps(model))

    with pytest.raises(UnsupportedConfigError, match=r"only GPT-2's tokenizer is built from vocab\.json"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    "model", [{"model_type": "opt"}, {"model_type": "gpt_neo"}, {"tokenizer_class": "GPT2Tokenizer"}]
)
def test_a_model_type_says_enough(tmp_path, model):
    folder = write(tmp_path)
    (folder / "config.json").write_text(json.dumps(model))

    assert AutoTokenizer.from_pretrained(folder)("<|endoftext|>").input_ids == [4]


def test_spaces_are_cleaned_up_when_it_is_asked_for(tokenizer):
    ids = tokenizer("It 's here , is n't it ? You 've gone ' now .").input_ids

    assert tokenizer.decode(ids) == "It 's here , is n't it ? You 've gone ' now ."
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=True) == "It's here, isn't it? You've gone'now."
    assert tokenizer.batch_decode([ids], clean_up_tokenization_spaces=True)[0].endswith("'now.")


# Streams


def streamed(tokenizer, ids, **options) -> list[str]:
    stream = tokenizer.stream(**options)
    return [*(stream.push(index) for index in ids), stream.finish()]


def test_a_character_of_several_tokens_comes_whole(tokenizer):
    ids = tokenizer("a😀b").input_ids

    assert streamed(tokenizer, ids) == ["a", "", "", "", "😀", "b", ""]
    assert streamed(tokenizer, ids[:3]) == ["a", "", "", "\ufffd"]


def test_a_stream_can_be_used_anew_and_takes_several_ids(tokenizer):
    stream = tokenizer.stream(skip_special_tokens=True)
    ids = tokenizer("Hello 你好</s>").input_ids

    for _ in range(2):
        assert stream.push(ids[:-2]) + stream.push(ids[-2:]) + stream.finish() == "Hello 你好"
    with pytest.raises(InputError):
        stream.push("Hello")


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(st.integers(0, 523), max_size=40), skip=st.booleans())
def test_the_pieces_of_any_ids_are_together_what_decoding_gives(ids, skip):
    tokenizer = STREAMING["two files"]

    assert "".join(streamed(tokenizer, ids, skip_special_tokens=skip)) == tokenizer.decode(
        ids, skip_special_tokens=skip
    )


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=30), kind=st.sampled_from(["two files", "extra", "window"]))
def test_the_pieces_of_any_text_are_together_the_text(text, kind):
    tokenizer = STREAMING[kind]
    ids = tokenizer(text).input_ids

    pieces = streamed(tokenizer, ids)

    assert "".join(pieces) == tokenizer.decode(ids)
    assert all("\ufffd" not in piece for piece in pieces if "\ufffd" not in text)


class _Streaming(dict):
    """Tokenizers that are made once."""

    def __missing__(self, kind):
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            config = GOLDEN["extra"]["config"] if kind == "extra" else {}
            tokenizer = AutoTokenizer.from_pretrained(write(Path(name), **config))
        if kind == "window":  # the same decoder under another name
            from tokenizers import decoders

            tokenizer.backend.decoder = decoders.Sequence([decoders.ByteLevel()])
        self[kind] = tokenizer
        return tokenizer


STREAMING = _Streaming()


def test_words_are_streamed_with_the_spaces_between_them(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s", ",", "!"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("hello worlds, hello!").input_ids

    assert streamed(tokenizer, ids, skip_special_tokens=True) == [
        "",
        "hello",
        " world",
        "s",
        ",",
        " hello",
        "!",
        "",
        "",
    ]
    assert "".join(streamed(tokenizer, ids)) == tokenizer.decode(ids)


# Broken files


def broken(folder: Path, name: str, text: str | bytes) -> Path:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not strict JSON"),
        ("[]", "holds an array, not an object"),
        ("{}", "has no tokens"),
        ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
        ('{"a": 1, "b": 1}', "'a' and 'b' both have the id 1"),
        ('{"a": -1}', "the token 'a' has the id -1"),
        ('{"a": 2147483648}', "the token 'a' has the id 2147483648"),
        ('{"a": 1.0}', r"the token 'a' has the id 1\.0"),
        ('{"a": true}', "the token 'a' has the id True"),
        ('{"a": "1"}', "the token 'a' has the id '1'"),
        ('{"a": NaN}', "NaN is not a JSON value"),
        (b"\xff\xfe", "is not UTF-8"),
        ("[" * 100_000, "nested more than"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_a_broken_vocabulary_is_refused(folder, text, said):
    with pytest.raises(CheckpointFormatError, match=rf"vocab\.json[\s\S]*{said}") as caught:
        AutoTokenizer.from_pretrained(broken(folder, "vocab.json", text))

    assert len(str(caught.value).splitlines()) <= 12


def test_a_token_with_half_a_surrogate_pair_is_refused(folder):
    broken(folder, "merges.txt", "")

    with pytest.raises(CheckpointFormatError, match=r"vocab\.json and merges\.txt are not a tokenizer"):
        AutoTokenizer.from_pretrained(broken(folder, "vocab.json", '{"\\ud800": 1}'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#version: 0.2\na\n", "line 2 is 'a': not a pair"),
        ("i n x\n", "line 1 is 'i n x': not a pair"),
        (" n\n", "line 1 is ' n': not a pair"),
        ("i n\n\nz q\n", "line 3 is 'z q': 'zq' is not in vocab.json"),
        ("i €\n", r"'\\u20ac' is not in vocab.json"),
        ("i n\no n\ni n\n", "lines 1 and 3 are both 'i n'"),
        (b"i n\n\xff", "is not UTF-8: byte 4 is 0xff"),
        ("<!DOCTYPE html>\n<html>", "line 1 is '<!DOCTYPE html>'"),
    ],
)
def test_broken_merges_are_refused_naming_the_line(folder, text, said):
    with pytest.raises(CheckpointFormatError, match=rf"merges\.txt[\s\S]*{said}"):
        AutoTokenizer.from_pretrained(broken(folder, "merges.txt", text))


def test_merges_may_lack_the_first_and_the_last_line_break_or_have_those_of_windows(folder):
    lines = (FOLDER / "merges.txt").read_text(encoding="utf-8").splitlines()
    expected = AutoTokenizer.from_pretrained(folder)(TEXTS).input_ids

    for text in ("\n".join(lines), "\r\n".join(lines) + "\r\n", "\n".join(lines[1:])):
        assert AutoTokenizer.from_pretrained(broken(folder, "merges.txt", text))(TEXTS).input_ids == expected


def test_the_merges_must_be_there(folder):
    (folder / "merges.txt").unlink()

    with pytest.raises(CheckpointNotFoundError, match=r"merges\.txt"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", PAIR_OF_FILES)
def test_files_that_are_too_large_or_no_files_are_refused(folder, name):
    with (folder / name).open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    with pytest.raises(CheckpointFormatError, match="has more than 16 MiB"):
        AutoTokenizer.from_pretrained(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(CheckpointFormatError, match="is not a regular file"):
        AutoTokenizer.from_pretrained(folder)


def test_bytes_without_a_token_are_reported(folder, caplog):
    caplog.set_level(logging.WARNING, logger="automodels")
    broken(folder, "merges.txt", "")

    broken(folder, "vocab.json", json.dumps({token: index for token, index in VOCABULARY.items() if token != "Z"}))
    tokenizer = AutoTokenizer.from_pretrained(folder)

    assert "has no token for 1 of the 256 bytes; texts lose them" in caplog.text
    assert tokenizer.decode(tokenizer("aZb").input_ids) == "ab"


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"add_prefix_space": "yes"}, ConfigValueError, "add_prefix_space is 'yes', not true or false"),
        ({"add_bos_token": 1}, ConfigValueError, "add_bos_token is 1, not true or false"),
        ({"add_bos_token": True, "bos_token": "<none>"}, ConfigValueError, "there is no bos_token in the vocabulary"),
        ({"tokenizer_class": 3}, ConfigValueError, "tokenizer_class is 3, not a name"),
        ({"added_tokens_decoder": {"520": {"content": "<a>", "lstrip": 1}}}, ConfigValueError, "lstrip is 1"),
        ({"added_tokens_decoder": {"600": {"content": "<a>"}}}, CheckpointFormatError, "should have id 600, but vocab"),
        ({"added_tokens_decoder": {"520": {"content": ""}}}, ConfigValueError, "the added token '' has the id 520"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, config, error, said):
    with pytest.raises(error, match=said):
        AutoTokenizer.from_pretrained(write(tmp_path, **config))


def test_settings_of_the_model_are_strict_json(folder):
    (folder / "config.json").write_text("{")

    with pytest.raises(ConfigFileError, match=r"config\.json is not strict JSON"):
        AutoTokenizer.from_pretrained(folder)


def test_ids_outside_the_vocabulary_have_no_token_and_no_text(tokenizer):
    assert tokenizer.decode([520, 4000]) == ""
    with pytest.raises(InputError, match="The id 520 is not in the vocabulary of 520 tokens"):
        tokenizer.convert_ids_to_tokens(520)
    with pytest.raises(InputError):
        tokenizer.decode([-1])


def test_without_the_library_the_error_names_the_extra(folder):
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from automodels import AutoTokenizer\n"
        "from automodels.errors import MissingDependencyError\n"
        "try: AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "except MissingDependencyError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)

    assert 'pip install "automodels[text]"' in done.stdout


def test_the_letters_of_bytes_are_those_of_the_library():
    from tokenizers import pre_tokenizers

    from automodels.text.stream import _BYTES

    assert set(_BYTES) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(_BYTES.values()) == list(range(256))
