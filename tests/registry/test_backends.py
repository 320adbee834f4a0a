from __future__ import annotations

import json

import pytest

MANIFEST = """{head}
[[backend]]
name = "toy-slow"
framework = "flax"
implementation = "toy_plugin:slow"
priority = 1

[[backend]]
name = "toy-fast"
framework = "flax"
implementation = "toy_plugin:fast"
devices = ["abacus"]
dtypes = ["bfloat16"]
min_capability = 80
priority = 999

[[backend]]
name = "toy-poor"
framework = "torch"
implementation = "toy_plugin:poor"
requires = ["nowhere-to-be-found"]
"""


@pytest.fixture(autouse=True)
def plugin(site):
    site.plugin("toy-plugin", MANIFEST)


def test_backends_stand_in_the_order_of_choice_each_with_its_reason(here, capsys):
    assert here(["backends"]) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("toy-")]
    assert [line.split()[0] for line in lines] == ["toy-fast", "toy-slow", "toy-poor"]
    assert "abacus (capability 8)" in lines[0]
    assert "unavailable: runs on abacus" in lines[0]
    assert lines[1].endswith("available")
    assert "nowhere-to-be-found is not installed" in lines[2]


def test_json_holds_what_the_manifest_declares(here, capsys):
    assert here(["backends", "--json", "--framework", "torch"]) == 0

    document = json.loads(capsys.readouterr().out)
    found = [backend for backend in document["backends"] if backend["plugin"] == "toy-plugin"]
    assert document["kind"] == "backends"
    assert [backend["name"] for backend in found] == ["toy-poor"]
    assert found[0]["available"] is False
    assert found[0]["implementation"] == "toy_plugin:poor"
