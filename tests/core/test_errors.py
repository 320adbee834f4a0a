"""The tree of errors: drawn, coded, short, and whole in every process."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels import errors
from automodels.errors import AutomodelsError, listed, nearest

CLASSES = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, AutomodelsError)]
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
HINTS = st.lists(TEXT.filter(lambda text: text.splitlines() == [text]), max_size=5)


def drawn() -> dict[str, tuple[str, int, str]]:
    """Class → (code, depth in the tree, other bases) as drawn in the docstring."""
    found = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│ ├└─]*)(\w+)(?: \((\w+)\))? +(AM\d{3})(?: {3}(.*))?$", line)
        if match:
            also = re.search(r"\(also an? (\w+)\)", match[5] or "")
            found[match[2]] = (match[4], len(match[1]) // 4, match[3] or (also[1] if also else ""))
    return found


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_with_its_code_its_place_and_its_other_base(kind):
    code, depth, other = drawn()[kind.__name__]

    ours = [base for base in kind.__mro__ if issubclass(base, AutomodelsError)]
    builtin = [base.__name__ for base in kind.__bases__ if not issubclass(base, AutomodelsError)]
    assert kind.code == code
    assert depth == len(ours) - 1
    assert other == ("" if builtin == ["Exception"] else "".join(builtin))


def test_every_error_that_is_drawn_exists_and_no_code_is_used_twice():
    codes = [kind.code for kind in CLASSES]

    assert set(drawn()) == {kind.__name__ for kind in CLASSES}
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is_and_survives_pickling(kind):
    error = kind("what\nis wrong", hints=["do this"], trace=["a", "b"])

    copy = pickle.loads(pickle.dumps(error))

    assert kind.__doc__
    assert type(copy) is kind
    assert str(error) == str(copy) == f"[{kind.code}] what\nis wrong\ndo this"
    assert (copy.message, copy.hints, copy.trace) == ("what\nis wrong", ("do this",), ("a", "b"))


@settings(deadline=None)
@given(lines=st.lists(TEXT, max_size=40), hints=HINTS)
def test_the_text_has_at_most_twelve_lines_and_hints_are_never_cut(lines, hints):
    error = AutomodelsError("\n".join(lines), hints=hints)

    shown = str(error).splitlines()
    assert len(shown) <= 12
    assert shown[len(shown) - len(hints) :] == hints or not error.message


@pytest.mark.parametrize("count", [11, 12, 13, 40])
def test_lines_that_are_cut_are_counted(count):
    error = AutomodelsError("\n".join(f"line {number}" for number in range(count)), hints=["do this"])

    shown = error.text().splitlines()
    if count == 11:
        assert shown == [f"line {number}" for number in range(11)] + ["do this"]
    else:
        assert shown[-2:] == [f"    … and {count - 10} more lines; the trace has them", "do this"]
        assert len(shown) == 12


@pytest.mark.parametrize(("name", "guess"), [("brt", "bert"), ("gpt-neo", "gpt_neo"), ("zzz", None), ("", None)])
def test_the_nearest_name_is_what_was_meant(name, guess):
    assert nearest(name, ["bert", "gpt_neo", "opt"]) == guess


def test_long_lists_are_counted_at_their_end():
    assert listed("abc") == "a, b, c"
    assert listed(map(str, range(10)), limit=3) == "0, 1, 2 and 7 more"
