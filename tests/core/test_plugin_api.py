"""What the plugin API promises of the core, and how a broken promise is told from an addition."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "plugin_api"))

import signatures

PROMISE = {
    "nano:Model": {
        "kind": "class",
        "call": "(config, seed?, backend:?)",
        "members": {"save": "(directory, size:?)", "report": "value"},
    },
    "nano:load": {"kind": "function", "call": "(name, *rest)"},
}


@pytest.fixture
def today():
    """The same as what is promised, to be changed."""
    return copy.deepcopy(PROMISE)


def test_the_core_keeps_what_plugin_api_1_promises():
    assert signatures.verdict("core") == ""


def test_a_name_that_is_gone_breaks_a_promise(today):
    del today["nano:load"]

    (wrong,) = signatures.broken(PROMISE, today)

    assert wrong == "nano:load is promised by plugin API 1.x and is gone: plugins that import it stop working"


def test_a_member_that_is_gone_breaks_a_promise(today):
    del today["nano:Model"]["members"]["report"]

    assert signatures.broken(PROMISE, today) == ["nano:Model.report is promised by plugin API 1.x and is gone"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("(config, backend:?)", "the parameter 'seed' is gone"),
        ("(config, seed, backend:?)", "the parameter 'seed' is now required"),
        ("(config, seed?, backend:?, device:)", "the parameter 'device' is new and required"),
        ("(config, seed:?, backend:?)", "the parameter 'seed' is now taken by keyword only"),
        ("(seed?, config, backend:?)", "positional parameters have another order"),
    ],
)
def test_a_call_that_no_longer_works_breaks_a_promise(today, call, reason):
    today["nano:Model"]["call"] = call

    (wrong,) = signatures.broken(PROMISE, today)

    assert wrong == f"nano:Model(config, seed?, backend:?) is promised by plugin API 1.x: {reason}"


def test_a_method_that_became_a_value_breaks_a_promise(today):
    today["nano:Model"]["members"]["save"] = "value"

    assert signatures.broken(PROMISE, today) == ["nano:Model.save was promised as (directory, size:?) and is value"]


def test_what_is_added_breaks_nothing_and_is_to_be_recorded(today):
    today["nano:Model"]["call"] = "(config, seed?, backend?, device:?)"
    today["nano:Model"]["members"]["load"] = "(directory)"
    today["nano:save"] = {"kind": "function", "call": "()"}

    assert signatures.broken(PROMISE, today) == []
    assert signatures.unlisted(PROMISE, today) == ["nano:save", "nano:Model.load"]


@pytest.mark.parametrize("part", list(signatures.PARTS))
def test_the_page_and_the_record_name_the_same(part):
    named = signatures.promised(part)

    assert len(set(named)) == len(named)
    assert set(named) == signatures.recorded(part).keys()
