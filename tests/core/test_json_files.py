"""Strict, bounded JSON: one sentence for everything that is not."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels.errors import CheckpointFormatError, CheckpointNotFoundError, ConfigFileError
from automodels.json_files import CONFIG_BYTES, parse_json_object, read_json_object


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (b'{"a": ' + (opening * depth).encode() + b"1" + (closing * depth).encode() + b"}").replace(b"[1]", b"[]")


REFUSED = {
    "empty": (b"", "is not strict JSON: Expecting value"),
    "blank": (b" \n", "is not strict JSON: Expecting value"),
    "text": (b"hello", "is not strict JSON: Expecting value"),
    "HTML": (b"<!doctype html>", "is not strict JSON: Expecting value"),
    "comment": (b"{} // x", "is not strict JSON: Extra data"),
    "trailing bytes": (b"{}\x00", "is not strict JSON: Extra data"),
    "two objects": (b"{}{}", "is not strict JSON: Extra data"),
    "trailing comma": (b'{"a": 1,}', "is not strict JSON"),
    "single quotes": (b"{'a': 1}", "is not strict JSON: Expecting property name"),
    "control character": (b'{"a": "\x01"}', "is not strict JSON: Invalid control character"),
    "truncated": (b'{"a": [1, 2', "is not strict JSON"),
    "byte order mark": (b"\xef\xbb\xbf{}", "is not strict JSON: Unexpected UTF-8 BOM"),
    "UTF-16": ("{}".encode("utf-16"), "is not UTF-8: byte 0 is 0xff"),
    "Latin-1": (b'{"a": "\xe9"}', "is not UTF-8: byte 7 is 0xe9"),
    "NaN": (b'{"a": NaN}', "NaN is not a JSON value"),
    "Infinity": (b'{"a": [Infinity]}', "Infinity is not a JSON value"),
    "-Infinity": (b'{"a": -Infinity}', "-Infinity is not a JSON value"),
    "too large a number": (b'{"a": 1e999}', "1e999 is too large for a number"),
    "too long a number": (b'{"a": ' + b"9" * 5000 + b"}", "is not strict JSON"),
    "duplicate keys": (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' stands there twice"),
    "duplicate keys inside": (b'{"x": [{"a": 1, "a": 2}]}', "the key 'a' stands there twice"),
    "escaped duplicate keys": (rb'{"\u001b": 1, "\u001B": 2}', r"the key '\x1b' stands there twice"),
    "array": (b"[1]", "holds an array, not an object"),
    "string": (b'"x"', "holds a string, not an object"),
    "number": (b"1.5", "holds a number, not an object"),
    "boolean": (b"true", "holds a boolean, not an object"),
    "null": (b"null", "holds null, not an object"),
    "deep": (nested(40), "is nested more than 32 levels deep"),
    "deep objects": (nested(40, '{"a":', "}"), "is nested more than 32 levels deep"),
    "very deep": (nested(100_000), "is nested more than 32 levels deep"),
    "very deep and open": (b'{"a":' + b"[" * 100_000, "is nested more than 32 levels deep"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("error", [ConfigFileError, CheckpointFormatError])
def test_what_is_not_strict_json_is_refused_with_one_sentence(tmp_path, content, message, error):
    file = tmp_path / "config.json"
    file.write_bytes(content)

    with pytest.raises(error) as caught:
        read_json_object(file, error=error)

    assert message in caught.value.message
    assert caught.value.message.startswith(str(file))
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.message.isprintable()


def test_an_object_is_read_as_it_stands(tmp_path):
    value = {"a": [1, 2.5, True, None, {"b": "ü 😀"}], "": {}, "big": 2**63, "small": 1e-12}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(value))

    assert read_json_object(file) == value


def test_nesting_up_to_the_limit_is_read():
    assert parse_json_object(nested(31), what="x")
    with pytest.raises(ConfigFileError, match="more than 32 levels"):
        parse_json_object(nested(32), what="x")


def test_a_file_that_is_too_large_is_not_parsed(tmp_path):
    file = tmp_path / "config.json"
    file.touch()
    os.truncate(file, CONFIG_BYTES + 1)

    with pytest.raises(ConfigFileError, match=rf"has more than {CONFIG_BYTES} bytes; a file of this kind is never"):
        read_json_object(file)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(CheckpointNotFoundError, match=r"config\.json is missing"):
        read_json_object(tmp_path / "config.json")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda file: os.symlink("/dev/zero", file)])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path, make):
    file = tmp_path / "config.json"
    make(file)

    with pytest.raises(ConfigFileError, match="is not a regular file"):
        read_json_object(file)


def test_a_link_that_leads_nowhere_or_round_and_round_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "missing")

    with pytest.raises(ConfigFileError, match="cannot be read: Too many levels of symbolic links"):
        read_json_object(tmp_path / "a")
    with pytest.raises(CheckpointNotFoundError):
        read_json_object(tmp_path / "c")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(value=st.dictionaries(st.text(), _JSON, max_size=4), ascii_only=st.booleans())
def test_every_object_that_json_writes_is_read_back(value, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    assert parse_json_object(data, what="x") == value


@settings(deadline=None)
@given(data=st.binary(max_size=80))
def test_bytes_of_any_kind_are_an_object_or_refused(data):
    said = "x"
    try:
        value: object = parse_json_object(data, what="x")
    except ConfigFileError as error:
        value, said = {}, error.message

    assert isinstance(value, dict)
    assert said.isprintable()
