from __future__ import annotations

import pytest

from automodels_cli.output import printable
from automodels_cli.table import columns, fields, plain, table, wrapped

HEADERS = ("NAME", "TASKS", "STATUS")
ROWS = [
    ("toy", "base, causal-lm, masked-lm", "ok"),
    ("longer", "base", "broken: the file /somewhere/very/deep/down/in/a/tree/automodels.toml is not TOML"),
]


def test_columns_are_aligned_and_nothing_trails():
    assert list(table(HEADERS, [("a", "b", "ok"), ("abcdef", "", "no")], None, plain)) == [
        "NAME    TASKS  STATUS",
        "a       b      ok",
        "abcdef         no",
    ]


@pytest.mark.parametrize("width", [120, 80, 60, 40, 20])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width):
    lines = list(table(HEADERS, ROWS, width, plain))

    assert max(map(columns, lines)) <= width
    together = "".join("".join(lines).split())
    for cell in (cell for row in ROWS for cell in row):
        assert all(char in together for char in cell.replace(" ", ""))
    assert "longer" in together


def test_rows_stack_where_columns_would_be_too_narrow():
    lines = list(table(HEADERS, ROWS, 25, plain))

    assert lines[0] == "NAME    toy"
    assert "" in lines


def test_wide_characters_count_twice():
    lines = list(table(("NAME", "STATUS"), [("模型", "ok"), ("toy", "ok")], None, plain))

    assert columns("模型") == 4
    assert columns("e\u0301") == 1
    assert lines[1] == "模型  ok"
    assert lines[2] == "toy   ok"


def test_words_are_kept_whole_where_they_fit():
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]


def test_fields_have_hanging_values():
    assert list(fields([("a", "one two"), ("name", "x")], 16)) == ["  a     one two", "  name  x"]
    assert list(fields([("a", "one two three")], 14)) == ["  a  one two", "     three"]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain → text", "plain → text"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\udc80", r"\udc80"),
    ],
)
def test_control_characters_are_escaped(text, safe):
    assert printable(text) == safe
