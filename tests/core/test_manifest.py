"""Manifests: whatever the file holds, one plugin is affected and the reason is a sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automodels.plugins import manifest as manifest_module
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.entries import Plugin
from automodels.testing.sites import FakeSite, model_table

HEAD = 'schema = 1\nname = "bad-toy"\napi = ">=1.0,<2"\n'


def catalog_of(site: FakeSite) -> Catalog:
    return load_catalog(path=[str(site.path)])


def judged(site: FakeSite, manifest: str | bytes, **options: str) -> Plugin:
    """The plugin `bad-toy` with this manifest, beside a good one that must not care."""
    site.toy("good-toy")
    site.plugin("bad-toy", manifest, **options)
    catalog = catalog_of(site)
    assert catalog.plugin("good-toy").state == "ok"
    plugin = catalog.plugin("bad-toy")
    assert all(str(problem).isprintable() for problem in plugin.problems)
    return plugin


def test_a_complete_manifest_is_read_as_it_stands(site):
    manifest = """
        {head}
        summary = "A toy — with ünïcode"
        hooks = "full_toy.hooks"

        [[model]]
        model_type = "toy"
        framework = "torch"
        config = "full_toy.config:ToyConfig"
        requires = ["numpy>=1"]
        architectures = ["ToyModel", "ToyForThings"]
        keymap = "full_toy.keymap:KEYMAP"
        [model.tasks]
        base = "full_toy.modeling:ToyModel"
        things = "full_toy.modeling:Outer.ToyForThings"

        [[backend]]
        name = "fast"
        framework = "flax"
        implementation = "full_toy.attention:fast"
        devices = ["cuda"]
        dtypes = ["bfloat16"]
        min_capability = 80
        priority = 200

        [[task]]
        name = "things"
        auto_class = "AutoModelForThings"
        summary = "All sorts"

        [[source]]
        scheme = "toys"
        summary = "The toy shop"
    """
    site.plugin("full-toy", manifest)

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.problems) == ("ok", ())
    (model,), (backend,), (task,) = plugin.manifest.models, plugin.manifest.backends, plugin.manifest.tasks
    assert plugin.manifest.summary == "A toy — with ünïcode"
    assert (model.model_type, model.framework, model.requires) == ("toy", "torch", ("numpy>=1",))
    assert dict(model.tasks)["things"] == "full_toy.modeling:Outer.ToyForThings"
    assert (backend.devices, backend.min_capability, backend.priority) == (("cuda",), 80, 200)
    assert task.auto_class == "AutoModelForThings"
    assert model.keymap == "full_toy.keymap:KEYMAP"
    assert [(source.scheme, source.summary) for source in plugin.manifest.sources] == [("toys", "The toy shop")]


def test_a_plugin_that_offers_nothing_says_so(site):
    assert judged(site, HEAD).state == "empty"


def test_a_missing_manifest_is_named_with_its_path(site):
    site.toy("good-toy")
    file = site.plugin("bad-toy") / "automodels.toml"
    file.unlink()

    plugin = catalog_of(site).plugin("bad-toy")

    assert str(plugin.fatal) == f"[P201] {file} is missing"


def test_a_directory_in_the_place_of_a_manifest_is_missing(site):
    file = site.plugin("bad-toy") / "automodels.toml"
    file.unlink()
    file.mkdir()

    assert catalog_of(site).plugin("bad-toy").fatal.code == "P201"


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(site):
    file = site.plugin("bad-toy") / "automodels.toml"
    file.unlink()
    os.mkfifo(file)

    assert catalog_of(site).plugin("bad-toy").fatal.code == "P201"


def test_a_manifest_that_is_too_large_is_not_read(site):
    plugin = judged(site, HEAD + "#" * 300_000)

    assert plugin.fatal.code == "P202"
    assert f"has {300_000 + len(HEAD)} bytes, more than 262144" in plugin.fatal.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[[[", "is not TOML: "),
        (b"\x00\x01\x02", "is not TOML: "),
        (b"{}", "is not TOML: "),
        (HEAD.encode() + b'summary = "\xff\xfe"', "codec can't decode"),
        (HEAD.encode("utf-16"), "codec can't decode"),
        (HEAD.encode() + b'name = "twice"', "Cannot overwrite"),
        (HEAD.encode() + b"x = " + b"[" * 60_000, "nested too deeply"),
        (HEAD.encode() + b"x = " + b"{a=" * 30_000, "nested too deeply"),
        (HEAD.encode() + b".".join([b"a"] * 100_000) + b" = 1", "nested too deeply"),
        (HEAD.encode() + b"[" + b" . ".join([b'"a"'] * 40_000) + b"]", "nested too deeply"),
        (HEAD.encode() + b"x = " + b"9" * 5000, "is not TOML: "),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_a_manifest_that_is_not_toml_is_a_broken_plugin(site, content, reason):
    plugin = judged(site, content)

    assert (plugin.state, plugin.fatal.code) == ("broken", "P203")
    assert reason in plugin.fatal.message
    assert len(plugin.fatal.message) < 400


def test_long_references_and_many_requirements_are_not_mistaken_for_deep_nesting(site):
    reference = ".".join(["part"] * 20) + ":Class.Inner"
    requires = [f"numpy>=1.{number}.0.0" for number in range(1, 60)]
    table = f'[[model]]\nmodel_type="t"\nframework="flax"\nconfig="{reference}"\nrequires={requires}\n'

    plugin = judged(site, HEAD + table + f'[model.tasks]\nbase="{reference}"')

    assert plugin.state == "ok"


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("", "schema is missing"),
        ("schema = 2", "schema is 2"),
        ("schema = 0", "schema is 0"),
        ('schema = "1"', "schema is '1'"),
        ("schema = true", "schema is True"),
        ("schema = [1]", "schema is [1]"),
        ("schema = 2026-01-01", "schema is datetime.date(2026, 1, 1)"),
        ("schema = nan", "schema is nan"),
    ],
)
def test_an_unknown_schema_is_refused_whatever_else_is_there(site, schema, said):
    plugin = judged(site, f'{schema}\nname = "bad-toy"\nnonsense = 1\n')

    assert str(plugin.fatal) == f"[P205] {said}; this version reads schema 1"


GOOD = {
    "top": {"name": '"bad-toy"', "api": '">=1.0,<2"', "summary": '"s"', "hooks": '"bad_toy.hooks"'},
    "model": {
        "model_type": '"toy"',
        "framework": '"flax"',
        "config": '"bad_toy.config:C"',
        "requires": '["numpy"]',
        "architectures": '["A"]',
        "keymap": '"bad_toy.keymap:K"',
        "tasks": '{base = "bad_toy.modeling:M"}',
    },
    "backend": {
        "name": '"fast"',
        "framework": '"flax"',
        "implementation": '"bad_toy.attention:f"',
        "devices": '["cpu"]',
        "dtypes": '["float32"]',
        "min_capability": "80",
        "priority": "1",
        "requires": "[]",
        "kind": '"attention"',
        "summary": '"s"',
        "supports": '["mask", "padding", "causal", "window", "bias", "dropout", "weights"]',
        "max_head_size": "256",
        "head_size_multiple": "8",
        "min_queries": "17",
        "probe": '"bad_toy.probes:fast"',
    },
    "source": {"scheme": '"toys"', "summary": '"s"'},
    "task": {"name": '"things"', "auto_class": '"AutoModelForThings"', "summary": '"s"'},
}


def written(table: str, key: str, value: str | None) -> str:
    """A manifest with every field right but one, which is `value`, or left out."""
    lines = ["schema = 1"]
    for section, fields in GOOD.items():
        fields = {**fields, **({key: value} if section == table else {})}
        lines += [f"[[{section}]]"] if section != "top" else []
        lines += [f"{name} = {text}" for name, text in fields.items() if text is not None]
    return "\n".join(lines)


def test_the_manifest_that_the_next_tests_spoil_is_good(site):
    plugin = judged(site, written("top", "name", '"bad-toy"'))

    assert (plugin.state, plugin.problems) == ("ok", ())


TEXTS = [
    "7",
    "true",
    "[]",
    "{}",
    "1.5",
    "2026-01-01",
    '"\\u001b[31mred"',
    '"\\u202etxt"',
    '"two\\nlines"',
    '"' + "x" * 201 + '"',
]
NAMES = [*TEXTS, '""', '"-x"', '"x y"', '"ünïcode"', '"a/b"', '"../a"', '"' + "n" * 65 + '"']
REFERENCES = [
    *TEXTS,
    '""',
    '"no_colon"',
    '":x"',
    '"x:"',
    '"a..b:c"',
    '"a:b:c"',
    '"os.path"',
    '"a b:c"',
    '"1a:b"',
    '"a:b()"',
]
LISTS = ["7", '"numpy"', "{}", "[7]", "[[]]", '["' + "x" * 201 + '"]', '["\\u0000"]', "[" + '"a",' * 65 + "]"]
NUMBERS = ['"1"', "-1", "1.0", "true", "1000001", "0x" + "f" * 8000, "[]", "inf"]
WRONG = {
    ("top", "name"): NAMES,
    ("top", "api"): [*TEXTS, '"1.0"', '"latest"', '">=x"', '">=1.0 <2"'],
    ("top", "summary"): TEXTS,
    ("top", "hooks"): [*TEXTS, '""', '"a:b"', '"a..b"', '"a-b"', '"../a"'],
    ("model", "model_type"): NAMES,
    ("model", "framework"): [*TEXTS, '""', '"jax"', '"Flax"', '"tensorflow"'],
    ("model", "config"): REFERENCES,
    ("model", "requires"): [*LISTS, '[""]'],
    ("model", "architectures"): [*LISTS, '["a b"]'],
    ("model", "keymap"): REFERENCES,
    ("model", "tasks"): ["7", "[]", "{}", '"base"', "{base = 7}", '{base = "x"}', '{"a b" = "a:b"}', '{"" = "a:b"}'],
    ("backend", "name"): [*NAMES, '"auto"'],
    ("backend", "framework"): ['"jax"', "1"],
    ("backend", "implementation"): REFERENCES,
    ("backend", "devices"): LISTS,
    ("backend", "dtypes"): LISTS,
    ("backend", "min_capability"): NUMBERS,
    ("backend", "priority"): NUMBERS,
    ("backend", "requires"): LISTS,
    ("backend", "kind"): [*TEXTS, '""', '"Attention"', '"attention "', '"kernel"'],
    ("backend", "summary"): TEXTS,
    ("backend", "supports"): [*LISTS, '[""]', '["Mask"]', '["mask", "maks"]', '["mask", {}]'],
    ("backend", "max_head_size"): NUMBERS,
    ("backend", "head_size_multiple"): [*NUMBERS, "0"],
    ("backend", "min_queries"): [*NUMBERS, "0"],
    ("backend", "probe"): REFERENCES,
    ("task", "name"): NAMES,
    ("task", "auto_class"): [*TEXTS, '""', '"ToyModel"', '"AutoModelForthings"', '"AutoModelFor"', '"AutoModelForA-B"'],
    ("task", "summary"): TEXTS,
    ("source", "scheme"): [*TEXTS, '""', '"S3"', '"s"', '"s3://"', '"3s"', '"a b"', '"' + "s" * 33 + '"'],
    ("source", "summary"): TEXTS,
}


@pytest.mark.parametrize(("table", "key"), WRONG, ids=lambda value: value)
def test_a_field_of_the_wrong_type_or_form_is_named_and_the_plugin_offers_nothing(site, table, key):
    for value in WRONG[table, key]:
        plugin = judged(site, written(table, key, value))

        assert plugin.state == "broken", value
        assert plugin.fatal.code == "P204", value
        assert key in plugin.fatal.message, value
        assert len(plugin.fatal.message) < 250


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("top", "name"),
        ("top", "api"),
        ("model", "model_type"),
        ("model", "framework"),
        ("model", "config"),
        ("model", "tasks"),
        ("backend", "name"),
        ("backend", "framework"),
        ("backend", "implementation"),
        ("task", "name"),
        ("task", "auto_class"),
    ],
)
def test_a_field_that_is_missing_is_named(site, table, key):
    plugin = judged(site, written(table, key, None))

    assert (plugin.state, plugin.fatal.code) == ("broken", "P204")
    assert key in plugin.fatal.message


@pytest.mark.parametrize("table", ["model", "backend", "task"])
@pytest.mark.parametrize("value", ["7", '"x"', "[7]", "{}", "true"])
def test_a_section_that_is_no_list_of_tables_says_how_to_write_it(site, table, value):
    plugin = judged(site, f"{HEAD}{table} = {value}\n")

    assert str(plugin.fatal) == f"[P204] {table} is not a list of tables; write [[{table}]]"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ('["maks"]', "did you mean 'mask'?"),
        ('["zebra"]', "known: mask, padding, causal, window, bias, dropout, weights"),
    ],
)
def test_a_feature_that_there_is_not_is_named_with_the_nearest(site, value, hint):
    plugin = judged(site, written("backend", "supports", value))

    assert plugin.fatal.message == f"supports of [[backend]] number 1 has {value[1:-1]!r}; {hint}".replace('"', "")


def test_a_backend_that_says_little_computes_attention_with_the_usual_features_everywhere(site):
    table = '[[backend]]\nname = "fast"\nframework = "flax"\nimplementation = "bad_toy.attention:f"\n'

    (backend,) = judged(site, HEAD + table).manifest.backends

    assert (backend.kind, backend.supports) == ("attention", ("mask", "bias", "dropout"))
    assert (backend.max_head_size, backend.head_size_multiple, backend.min_queries) == (0, 1, 1)
    assert (backend.devices, backend.probe, backend.summary) == (("cpu", "cuda", "tpu"), None, "")


def test_a_backend_that_can_do_nothing_beside_the_formula_may_say_so(site):
    (backend,) = judged(site, written("backend", "supports", "[]")).manifest.backends

    assert backend.supports == ()


def test_every_wrong_field_is_reported_at_once(site):
    plugin = judged(site, HEAD + '[[model]]\nmodel_type = 7\nframework = "jax"\n[[task]]\nname = "x"\n')

    said = "\n".join(problem.message for problem in plugin.problems)
    assert all(word in said for word in ("tasks", "model_type", "framework", "config", "auto_class"))


def test_counts_are_bounded(site):
    table = '[[task]]\nname = "t"\nauto_class = "AutoModelForT"\n'

    plugin = judged(site, HEAD + table * 513)

    assert plugin.fatal.message == "513 [[task]] tables, more than 512"


def test_unknown_keys_are_warnings_with_the_nearest_name_and_the_plugin_stays_usable(site):
    table = model_table("bad_toy").replace("requires", "reqires")

    plugin = judged(site, HEAD + 'sumary = "x"\n\\u001b = 1\n'.replace("\\u001b", '"\\u001b[31m"') + table)

    assert plugin.state == "ok"
    assert {(problem.code, problem.fatal) for problem in plugin.problems} == {("P206", False)}
    said = [problem.message for problem in plugin.problems]
    assert "the manifest has the unknown key 'sumary'; did you mean 'summary'?" in said
    assert "[[model]] number 1 has the unknown key 'reqires'; did you mean 'requires'?" in said


def test_thousands_of_unknown_keys_are_counted(site):
    plugin = judged(site, HEAD + "".join(f"key{number} = 1\n" for number in range(20_000)))

    assert len(plugin.problems) == 9
    assert plugin.problems[-1].message == "the manifest has 19992 more unknown keys"


@pytest.mark.parametrize("file", ["../good_toy/automodels.toml", "/etc/hostname", "..", "sub/../../x.toml", "x/../.."])
def test_a_path_that_leaves_the_package_is_refused(site, file):
    site.toy("good-toy")
    site.plugin("bad-toy")
    site.distribution("bad-toy", files={"entry_points.txt": f"[automodels.plugins]\nbad-toy = bad_toy:{file}\n"})

    plugin = catalog_of(site).plugin("bad-toy")

    assert (plugin.state, plugin.fatal.code) == ("broken", "P207")
    assert "leaves the package bad_toy" in plugin.fatal.message


def test_a_manifest_that_an_installer_linked_from_its_cache_is_read(site, tmp_path):
    package = site.plugin("bad-toy")
    os.rename(package / "automodels.toml", tmp_path / "elsewhere.toml")
    (package / "automodels.toml").symlink_to(tmp_path / "elsewhere.toml")

    plugin = catalog_of(site).plugin("bad-toy")

    assert (plugin.state, plugin.problems) == ("empty", ())


@pytest.mark.parametrize("file", [".", "./"])
def test_an_entry_point_that_names_the_package_itself_has_no_manifest(site, file):
    site.plugin("bad-toy")
    site.distribution("bad-toy", files={"entry_points.txt": f"[automodels.plugins]\nbad-toy = bad_toy:{file}\n"})

    plugin = catalog_of(site).plugin("bad-toy")

    assert (plugin.state, plugin.fatal.code) == ("broken", "P201")


def test_a_manifest_in_a_folder_of_the_package_is_read(site):
    package = site.toy("good-toy")
    (package / "data").mkdir()
    os.rename(package / "automodels.toml", package / "data" / "plugin.toml")
    points = "[automodels.plugins]\ngood-toy = good_toy : data/plugin.toml\n"
    site.distribution("good-toy", files={"entry_points.txt": points})

    assert catalog_of(site).plugin("good-toy").state == "ok"


@pytest.mark.parametrize(
    "value",
    [
        "bad_toy",
        "bad_toy:",
        "bad.toy:automodels.toml",
        "../bad_toy:automodels.toml",
        "bad_toy:\x1b[2J",
        "b" * 5000,
        ":x",
    ],
)
def test_an_entry_point_that_is_not_package_and_file_is_refused(site, value):
    site.plugin("bad-toy")
    site.distribution("bad-toy", files={"entry_points.txt": f"[automodels.plugins]\nbad-toy = {value}\n"})

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.fatal.code) == ("broken", "P102")
    assert str(plugin.fatal).isprintable()


def test_an_entry_point_whose_package_is_not_there_is_named(site):
    site.distribution("bad-toy", files={"entry_points.txt": "[automodels.plugins]\nbad-toy = gone:automodels.toml\n"})

    (plugin,) = catalog_of(site).plugins

    assert plugin.fatal.message == "the package gone of the entry point 'bad-toy' is not there"


@pytest.mark.parametrize("name", ["\x1b[2Jevil", "evil\x07", "\u202elive", "x" * 3000])
def test_control_characters_and_endless_names_of_entry_points_never_reach_a_terminal(site, name):
    site.plugin("bad-toy")
    points = f"[automodels.plugins]\n{name} = bad_toy:missing.toml\n"
    site.distribution("bad-toy", files={"entry_points.txt": points})

    (plugin,) = catalog_of(site).plugins

    assert plugin.state == "broken"
    assert f"{plugin} {plugin.fatal}".isprintable()
    assert len(plugin.name) <= 64


def test_a_plugin_with_the_name_of_another_distribution_is_refused_and_that_one_is_untouched(site):
    site.toy("good-toy")
    manifest = 'schema = 1\nname = "good-toy"\napi = ">=1.0,<2"\n' + model_table("rogue")
    site.package("rogue", {"automodels.toml": manifest})
    site.distribution("rogue", files={"entry_points.txt": "[automodels.plugins]\ngood-toy = rogue:automodels.toml\n"})

    good, rogue = sorted(catalog_of(site).plugins, key=lambda plugin: plugin.state, reverse=True)

    assert (good.state, good.location) == ("ok", str(site.path / "good_toy"))
    assert (rogue.state, rogue.fatal.code) == ("broken", "P209")
    assert rogue.fatal.message == "good-toy is the name of another distribution; this one is rogue"


def test_pointing_at_the_manifest_of_another_distribution_takes_nothing_down(site):
    site.toy("good-toy")
    points = "[automodels.plugins]\ngood-toy = good_toy:automodels.toml\n"
    site.distribution("rogue", files={"entry_points.txt": points})

    found = sorted(plugin.state for plugin in catalog_of(site).plugins)

    assert found == ["broken", "ok"]


@pytest.mark.parametrize("name", ["flax-bert", "torch-heads", "Flax_Bert"])
def test_a_first_party_name_is_refused_even_when_the_first_party_plugin_is_not_installed(site, name):
    site.package("rogue", {"automodels.toml": f'schema = 1\nname = "{name}"\napi = ">=1.0,<2"\n'})
    site.distribution("rogue", files={"entry_points.txt": f"[automodels.plugins]\n{name} = rogue:automodels.toml\n"})

    (plugin,) = catalog_of(site).plugins

    assert plugin.fatal.code == "P209"


def test_two_plugins_of_one_name_are_both_broken_until_one_is_gone(site):
    for package in ("one", "two"):
        site.package(package, {"automodels.toml": 'schema = 1\nname = "same"\napi = ">=1.0,<2"\n'})
        points = f"[automodels.plugins]\nsame = {package}:automodels.toml\n"
        site.distribution(package, files={"entry_points.txt": points})

    plugins = catalog_of(site).plugins

    assert [(plugin.state, plugin.fatal.code) for plugin in plugins] == [("broken", "P209")] * 2
    assert plugins[1].location in plugins[0].fatal.message


def test_an_entry_point_whose_name_differs_from_the_manifests_is_refused(site):
    plugin_directory = site.toy("other-toy")
    points = "[automodels.plugins]\nthis-toy = other_toy:automodels.toml\n"
    site.distribution("other-toy", files={"entry_points.txt": points})

    (plugin,) = catalog_of(site).plugins

    assert plugin_directory.is_dir()
    assert (plugin.state, plugin.fatal.code) == ("broken", "P208")
    assert plugin.fatal.message == "the entry point is called 'this-toy', the manifest 'other-toy'"


@pytest.mark.parametrize("api", [">=2", "<1.0", ">1.0", "==0.9", "!=1.0", "~=2.1", ">=1.0.post1"])
def test_a_plugin_for_another_plugin_api_is_incompatible(site, api):
    plugin = judged(site, HEAD.replace(">=1.0,<2", api))

    assert (plugin.state, plugin.fatal.code) == ("incompatible", "P301")
    assert plugin.fatal.message == f"needs plugin API {api}; this is 1.0"


@pytest.mark.parametrize("api", [">=1.0", ">=1,<2", "==1.0", "==1.*", "~=1.0", ">=0.5, <=1.0", ">=1.0.dev1"])
def test_a_plugin_for_this_plugin_api_is_taken(site, api):
    assert judged(site, HEAD.replace(">=1.0,<2", api)).state == "empty"


def test_one_plugin_may_not_offer_the_same_entry_twice(site):
    plugin = judged(site, HEAD + model_table("bad_toy") * 2)

    assert (plugin.state, plugin.fatal.code) == ("broken", "P204")
    assert plugin.fatal.message == "[[model]] number 2 offers base for 'toy' in flax, as number 1 does"


def test_a_deprecated_key_goes_on_working_and_is_named(site, monkeypatch):
    instead = "since plugin API 1.3 it is called backbone, and it goes in 2.0"
    monkeypatch.setitem(manifest_module.DEPRECATED, ("[[model]]", "architectures"), instead)

    plugin = judged(site, HEAD + model_table("bad_toy").replace("requires = []", 'architectures = ["Toy"]'))

    assert plugin.state == "ok"
    assert plugin.manifest.models[0].architectures == ("Toy",)
    assert [str(problem) for problem in plugin.problems] == [
        f"[P210] architectures of [[model]] number 1 is deprecated; {instead}"
    ]


# Anything at all

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(sorted({"schema", "model", "backend", "task", *(k for f in GOOD.values() for k in f)}))


@settings(max_examples=80, deadline=None)
@given(
    raw=st.dictionaries(_KEYS | st.text(max_size=5), _VALUES | st.lists(st.dictionaries(_KEYS, _VALUES), max_size=2))
)
def test_parsed_data_of_any_shape_gives_a_manifest_or_printable_problems(raw):
    from automodels.plugins.manifest import parse_manifest

    manifest, problems = parse_manifest({**raw, "schema": 1})

    assert (manifest is None) == any(problem.fatal for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_of_any_kind_are_no_toml_or_toml(content):
    from automodels.plugins.manifest import parse_toml

    said = ""
    try:
        parsed: object = parse_toml(content)
    except ValueError as error:
        parsed, said = {}, str(error)

    assert isinstance(parsed, dict)
    assert said.isprintable()


def test_reading_manifests_imports_neither_the_plugins_nor_heavy_libraries(site):
    for number in range(20):
        site.toy(f"toy-{number}", files={"__init__.py": "raise SystemExit('imported')"})
    script = f"""if True:
        import sys
        from automodels.plugins.catalog import load_catalog
        assert len(load_catalog(path=[{str(site.path)!r}]).entries) == 20
        heavy = "jax flax torch transformers numpy pydantic rich pluggy packaging importlib.metadata email".split()
        print(sorted({{name for name in heavy if name in sys.modules}}))"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
