from __future__ import annotations

import json

from automodels.testing.sites import model_table

MANIFEST = """{head}summary = "A toy"
hooks = "toy_plugin.hooks"

[[model]]
model_type = "toy"
framework = "flax"
config = "toy_plugin.config:ToyConfig"
requires = ["nowhere-to-be-found"]
architectures = ["ToyModel"]
keymap = "toy_plugin.keymap:KEYMAP"
[model.tasks]
base = "toy_plugin.modeling:ToyModel"
colour-naming = "toy_plugin.modeling:ToyForColourNaming"

[[backend]]
name = "fast"
framework = "flax"
implementation = "toy_plugin.attention:fast"
summary = "fast beads"
devices = ["cuda"]
min_capability = 80
supports = ["mask", "causal"]
max_head_size = 256
head_size_multiple = 8
min_queries = 17
probe = "toy_plugin.probes:fast"

[[backend]]
name = "run"
framework = "flax"
kind = "execution"
implementation = "toy_plugin.execution:run"

[[task]]
name = "colour-naming"
auto_class = "AutoModelForColourNaming"

[[source]]
scheme = "toys"
"""


def test_a_plugin_is_shown_with_provenance_and_everything_it_offers(here, site, capsys):
    site.plugin("toy-plugin", MANIFEST)

    assert here(["show", "toy-plugin"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("toy-plugin 1.0\n")
    for text in (
        "A toy",
        str(site.path / "toy_plugin"),
        "toy_plugin.config:ToyConfig",
        "nowhere-to-be-found is not installed",
        "AutoModelForColourNaming → toy_plugin.modeling:ToyForColourNaming",
        "backend fast in flax",
        "toy_plugin.keymap:KEYMAP",
        "toys://",
    ):
        assert text in out


def test_a_backend_is_shown_with_all_that_its_table_says(here, site, capsys):
    site.plugin("toy-plugin", MANIFEST)

    assert here(["show", "toy-plugin"]) == 0

    blocks = capsys.readouterr().out.split("\n\n")
    assert blocks[1].splitlines() == [
        "backend fast in flax",
        "  kind            attention",
        "  summary         fast beads",
        "  implementation  toy_plugin.attention:fast",
        "  devices         cuda",
        "  capability      8.0 or more",
        "  dtypes          all",
        "  supports        mask, causal",
        "  heads           multiples of 8, up to 256 numbers",
        "  queries         from 17 tokens; fewer go to the plain formula",
        "  priority        100",
        "  probe           toy_plugin.probes:fast",
    ]
    assert blocks[2].splitlines() == [
        "backend run in flax",
        "  kind            execution",
        "  implementation  toy_plugin.execution:run",
        "  devices         cpu, cuda, tpu",
        "  dtypes          all",
        "  priority        100",
    ]
    assert here(["show", "toy-plugin", "--json"]) == 0
    (plugin,) = json.loads(capsys.readouterr().out)["plugins"]
    assert [backend["probe"] for backend in plugin["backends"]] == ["toy_plugin.probes:fast", None]


def test_a_model_type_is_shown_with_all_its_plugins(here, site, capsys):
    site.plugin("toy-one", "{head}" + model_table("toy_one") + model_table("toy_one", model_type="other"))
    site.plugin("toy-two", "{head}" + model_table("toy_two", framework="torch"))

    assert here(["show", "toy", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["schema", "kind", "name", "plugins"]
    assert document["kind"] == "show"
    assert [plugin["name"] for plugin in document["plugins"]] == ["toy-one", "toy-two"]
    assert [model["model_type"] for model in document["plugins"][0]["models"]] == ["toy"]
    assert document["plugins"][0]["models"][0]["tasks"] == [
        {"task": "base", "auto_class": "AutoModel", "model": "toy_one.modeling:ToyModel"}
    ]


def test_a_broken_plugin_is_shown_with_its_problems(here, site, capsys):
    site.plugin("toy-broken", "= = =")

    assert here(["show", "toy-broken"]) == 0

    assert "[P203]" in capsys.readouterr().out


def test_a_name_that_is_neither_is_exit_code_3_with_the_nearest_one(here, site, capsys):
    site.plugin("toy-plugin", MANIFEST)

    assert here(["show", "toy-plugni"]) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("UnknownModelTypeError [AM101]: ")
    assert "Did you mean 'toy-plugin'?" in captured.err
