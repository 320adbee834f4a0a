"""Every document that a command can print has a published schema, and fits it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import automodels_cli
from automodels_cli.schemas import kinds, schema_of

jsonschema = pytest.importorskip("jsonschema")
SOURCES = Path(automodels_cli.__file__).parent


def printed_kinds():
    """The first argument of every call of `document` in the sources."""
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "document":
                assert isinstance(node.args[0], ast.Constant), f"{file}: a kind that is not written out"
                yield node.args[0].value


def objects(schema):
    """Every schema of an object inside a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_every_kind_that_a_command_prints_has_a_schema_and_no_schema_is_left_over():
    assert sorted(set(printed_kinds())) == kinds()


@pytest.mark.parametrize("kind", kinds())
def test_a_schema_is_one_of_2020_12_and_names_its_kind(kind):
    schema = schema_of(kind)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:automodels:registry:{kind}:1"
    assert schema["properties"]["kind"] == {"const": kind}
    assert schema["properties"]["schema"] == {"const": 1}
    assert {"schema", "kind"} <= set(schema["required"])


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "schema"])
def test_a_schema_allows_nothing_that_it_does_not_name(kind):
    for each in objects(schema_of(kind)):
        assert "additionalProperties" in each, each
        if "properties" in each:
            assert each["additionalProperties"] is False
            assert set(each.get("required", ())) <= set(each["properties"])


def test_schemas_are_printed_as_they_stand(here, capsys):
    assert here(["schema", "list"]) == 0

    assert json.loads(capsys.readouterr().out) == schema_of("list")


def test_kinds_are_listed(here, capsys):
    assert here(["schema"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == kinds()


@pytest.mark.parametrize("name", ["lst", "../../main", "", "list.json"])
def test_an_unknown_kind_is_refused(here, capsys, name):
    assert here(["schema", name]) == 2

    assert "Run: registry schema" in capsys.readouterr().err


def test_schemas_are_in_the_wheel():
    project = (SOURCES.parents[1] / "pyproject.toml").read_text()

    assert 'packages = ["src/automodels_cli"]' in project
    assert "exclude" not in project
