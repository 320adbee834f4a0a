"""The catalog through its public door: what is installed, what it offers, what is wrong."""

from __future__ import annotations

import dataclasses

import pytest

import automodels
from automodels.plugins.problems import MEANINGS
from automodels.testing.sites import FakeSite


def test_every_plugin_on_the_path_is_listed_once_by_name(site):
    site.toy("b-toy")
    site.toy("a-toy", version="2.1")
    site.plugin("c-toy", "[[[")

    catalog = automodels.catalog(path=[str(site.path)])

    assert [(plugin.name, plugin.version, plugin.state) for plugin in catalog.plugins] == [
        ("a-toy", "2.1", "ok"),
        ("b-toy", "1.0", "ok"),
        ("c-toy", "1.0", "broken"),
    ]
    assert catalog.model_types == ("toy",)
    assert [(entry.plugin.name, entry.task, entry.framework) for entry in catalog.entries] == [
        ("a-toy", "base", "flax"),
        ("b-toy", "base", "flax"),
    ]


def test_without_a_path_the_catalog_is_that_of_the_running_interpreter(site):
    before = automodels.catalog().plugin("good-toy")
    site.toy("good-toy")

    assert before is None
    assert automodels.catalog().plugin("good-toy").state == "ok"


def test_an_empty_path_has_an_empty_catalog():
    catalog = automodels.catalog(path=[])

    assert (catalog.plugins, catalog.entries, catalog.model_types, catalog.warnings) == ((), (), (), ())


def test_an_edited_manifest_is_read_again(site):
    package = site.toy("good-toy")
    before = automodels.catalog().plugin("good-toy").state

    (package / "automodels.toml").write_text("[[[")

    assert (before, automodels.catalog().plugin("good-toy").state) == ("ok", "broken")


def test_backends_are_listed_by_framework_and_priority(site):
    table = '[[backend]]\nname = "{}"\nframework = "{}"\nimplementation = "a:b"\npriority = {}\n'
    rows = [("slow", "flax", 1), ("fast", "flax", 9), ("eager", "torch", 5), ("alike", "flax", 9)]
    site.plugin("backend-toy", "{head}\n" + "".join(table.format(*row) for row in rows))
    catalog = automodels.catalog(path=[str(site.path)])

    everything = [table.name for _, table in catalog.backends()]
    for_torch = [table.name for _, table in catalog.backends("torch")]

    assert everything == ["alike", "fast", "slow", "eager"]
    assert for_torch == ["eager"]


def test_several_plugins_of_one_distribution_are_listed_apart(site):
    points = "[automodels.plugins]\n"
    for name in ("one", "two"):
        site.package(name, {"automodels.toml": f'schema = 1\nname = "{name}"\napi = ">=1.0,<2"\n'})
        points += f"{name} = {name}:automodels.toml\n"
    site.distribution("bundle", files={"entry_points.txt": points})

    catalog = automodels.catalog(path=[str(site.path)])

    assert [(plugin.name, plugin.state) for plugin in catalog.plugins] == [("one", "empty"), ("two", "empty")]


def test_a_catalog_cannot_be_changed(site):
    catalog = automodels.catalog(path=[str(site.path)])

    with pytest.raises(dataclasses.FrozenInstanceError):
        catalog.plugins = ()


def test_every_problem_has_a_code_with_a_meaning(tmp_path):
    site = FakeSite(tmp_path / "site")
    site.plugin("a", "[[[")
    site.plugin("b", "schema = 2")
    site.plugin("c", "{head}\nnonsense = 1\nsummary = 2")
    site.distribution("d", files={"entry_points.txt": "[automodels.plugins]\nd\nx = y\nz = gone:f.toml\n"})

    with automodels.policy(deny=["unknown"]):
        catalog = automodels.catalog(path=[str(site.path)])

    problems = [*catalog.warnings, *(problem for plugin in catalog.plugins for problem in plugin.problems)]
    assert {problem.code for problem in problems} == {"P101", "P102", "P103", "P203", "P204", "P205", "P206", "P303"}
    assert {problem.code for problem in problems} <= set(MEANINGS)
    assert all(str(problem).startswith(f"[{problem.code}] ") for problem in problems)
