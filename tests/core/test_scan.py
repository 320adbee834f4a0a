"""Installed distributions: found one by one, whatever else lies on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.scan import printable, scan, shown
from automodels.testing.sites import FakeSite


def catalog_of(*sites: FakeSite) -> Catalog:
    return load_catalog(path=[str(site.path) for site in sites])


def states(catalog: Catalog) -> dict[str, str]:
    return {plugin.name: plugin.state for plugin in catalog.plugins}


BROKEN_ENTRY_POINTS = {
    "no section": b"automodels = nothing\n",
    "unclosed section": b"[console_scripts\nx = y:z\n",
    "no equals sign": b"[console_scripts]\nthis is not an entry point\n",
    "not UTF-8": b"[console_scripts]\n\xff\xfe = \x80:main\n",
    "UTF-16": "[console_scripts]\nx = y:z\n".encode("utf-16"),
    "null bytes": b"\x00" * 4096,
    "duplicate sections": b"[a]\nx = y:z\n[a]\nx = y:z\n",
    "binary": bytes(range(256)) * 16,
    "mentions the group in a comment": b"# [automodels.plugins]\n[console_scripts]\nx\n",
}


@pytest.mark.parametrize("content", BROKEN_ENTRY_POINTS.values(), ids=BROKEN_ENTRY_POINTS.keys())
def test_a_malformed_entry_points_file_of_an_unrelated_distribution_changes_nothing(site, content):
    site.toy("good-toy")
    site.distribution("unrelated", files={"entry_points.txt": content})

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


def test_other_groups_of_a_plugins_own_file_may_be_malformed(site):
    site.toy("good-toy")
    points = b"[x\n[console_scripts]\n\xff broken\n[automodels.plugins]\ngood-toy = good_toy:automodels.toml\n[y]\nz\n"
    site.distribution("good-toy", files={"entry_points.txt": points})

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


def test_a_byte_order_mark_before_the_entry_points_is_passed_by(site):
    site.toy("good-toy")
    points = b"\xef\xbb\xbf[automodels.plugins]\r\ngood-toy = good_toy:automodels.toml\r\n"
    site.distribution("good-toy", files={"entry_points.txt": points})

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


@pytest.mark.parametrize("line", [b"broken-toy", b"= x:y.toml", b"broken-toy =", b"\xff = broken_toy:automodels.toml"])
def test_a_malformed_line_of_our_own_group_is_a_broken_plugin_and_names_file_and_line(site, line):
    site.toy("good-toy")
    site.distribution("broken-toy", files={"entry_points.txt": b"[automodels.plugins]\n" + line + b"\n"})

    catalog = catalog_of(site)

    assert states(catalog) == {"broken-toy": "broken", "good-toy": "ok"}
    problem = catalog.plugin("broken-toy").fatal
    assert problem.code == "P101"
    assert "entry_points.txt, line 2: " in problem.message


def test_a_distribution_without_metadata_is_still_found_and_says_so(site):
    site.toy("good-toy")
    (site.path / "good_toy-1.0.dist-info" / "METADATA").unlink()

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}
    assert [problem.code for problem in catalog.scan.distributions["good-toy"].problems] == ["P105"]


@pytest.mark.parametrize("metadata", [b"", b"\xff\xfe\x00", b"Name: \xff\nVersion: \xff\n", b"\x00" * 2_000_000])
def test_metadata_that_is_no_text_changes_nothing(site, metadata):
    site.toy("good-toy")
    site.distribution("unrelated", files={"METADATA": metadata})
    site.write(site.path / "old_style.egg-info", {"PKG-INFO": metadata})

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


def test_of_two_versions_in_different_directories_the_first_on_the_path_is_taken(tmp_path):
    first, second = FakeSite(tmp_path / "first"), FakeSite(tmp_path / "second")
    first.toy("good-toy", version="1.0")
    second.toy("good-toy", version="2.0")

    catalog = catalog_of(first, second)
    swapped = catalog_of(second, first)

    assert [plugin.version for plugin in catalog.plugins] == ["1.0"]
    assert [found.version for found in catalog.scan.shadowed] == ["2.0"]
    assert [plugin.version for plugin in swapped.plugins] == ["2.0"]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0", "1.0.1"),
        ("1.9", "1.10"),
        ("1.0rc1", "1.0"),
        ("1.0", "1.0.post1"),
        ("2.0.dev3", "2.0a1"),
        ("0.9", "1!0.1"),
    ],
)
def test_of_two_versions_in_one_directory_the_newest_is_taken(site, older, newer):
    site.toy("good-toy", version=newer)
    site.toy("good-toy", version=older)

    found = scan([str(site.path)])

    assert found.distributions["good-toy"].version == newer
    assert [shadowed.version for shadowed in found.shadowed] == [older]


def test_of_two_versions_in_one_directory_a_complete_one_is_taken_before_a_remnant(site):
    site.toy("good-toy", version="1.0")
    (site.path / "good_toy-2.0.dist-info").mkdir()

    found = scan([str(site.path)])

    assert found.distributions["good-toy"].version == "1.0"


@pytest.mark.parametrize("spelling", ["Good_Toy-1.0", "good.toy-1.0", "good-toy-1.0"])
def test_spellings_of_one_name_are_one_distribution(site, spelling):
    site.write(site.path / f"{spelling}.dist-info", {"METADATA": "Name: good-toy\nVersion: 1.0\n"})

    found = scan([str(site.path)])

    assert list(found.distributions) == ["good-toy"]
    assert found.distributions["good-toy"].version == "1.0"


@pytest.mark.parametrize("name", [b"bad\xff\xfe-1.0.dist-info", b"bad-\xff.dist-info", b"\x1b[2J-1.0.dist-info"])
def test_directory_names_that_are_no_text_change_nothing(site, name):
    site.toy("good-toy")
    os.mkdir(os.path.join(os.fsencode(site.path), name))

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


@pytest.mark.parametrize("version", [b"1.0\xff", b"1.0\x1b[31m", "1.0\u202e".encode()])
def test_a_version_that_is_no_text_is_printed_escaped(site, version):
    site.toy("good-toy")
    old = os.fsencode(site.path / "good_toy-1.0.dist-info")
    os.rename(old, old.replace(b"1.0", version))

    (plugin,) = catalog_of(site).plugins

    assert str(plugin).isprintable()
    assert str(plugin).encode()


def test_a_site_directory_whose_name_is_no_text_is_printed_escaped(tmp_path):
    site = FakeSite(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m")))
    site.plugin("broken-toy", manifest="schema = 2")
    site.plugin("worse-toy", manifest="[[[")
    (site.path / "worse_toy-1.0.dist-info" / "METADATA").unlink()

    catalog = catalog_of(site)

    assert states(catalog) == {"broken-toy": "broken", "worse-toy": "broken"}
    for plugin in catalog.plugins:
        assert f"{plugin} {plugin.fatal} {plugin.location}".isprintable()
    assert all(str(problem).isprintable() for d in catalog.scan.distributions.values() for problem in d.problems)


@pytest.mark.parametrize("entry", ["\0", "missing", "file.zip", b"bytes", None, 7, Path("a-path")])
def test_what_on_the_path_is_no_directory_is_passed_by(site, tmp_path, entry):
    site.toy("good-toy")
    Path("file.zip").write_bytes(b"PK")

    catalog = load_catalog(path=[entry, str(site.path)])

    assert states(catalog) == {"good-toy": "ok"}


def test_a_working_directory_that_was_removed_is_passed_by(site):
    site.toy("good-toy")
    os.rmdir(os.getcwd())

    catalog = load_catalog(path=["", str(site.path)])

    assert states(catalog) == {"good-toy": "ok"}


def test_the_empty_entry_of_the_path_follows_the_working_directory(tmp_path, monkeypatch):
    for name in ("one", "two"):
        FakeSite(tmp_path / name).toy(f"{name}-toy")

    monkeypatch.chdir(tmp_path / "one")
    first = load_catalog(path=[""])
    monkeypatch.chdir(tmp_path / "two")
    second = load_catalog(path=[""])

    assert (states(first), states(second)) == ({"one-toy": "ok"}, {"two-toy": "ok"})


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA", "RECORD", "direct_url.json"])
def test_a_pipe_in_the_place_of_a_metadata_file_is_not_waited_for(site, name):
    site.toy("good-toy")
    info = site.path / "unrelated-1.0.dist-info"
    info.mkdir()
    os.mkfifo(info / name)

    catalog = catalog_of(site)

    assert states(catalog) == {"good-toy": "ok"}


def test_the_same_directory_twice_on_the_path_shadows_nothing(site):
    site.toy("good-toy")

    catalog = load_catalog(path=[str(site.path), str(site.path), f"{site.path}/"])

    assert states(catalog) == {"good-toy": "ok"}
    assert catalog.scan.shadowed == ()


def test_a_plugin_that_is_installed_or_removed_is_seen_by_the_next_catalog(site):
    site.toy("good-toy")
    before = catalog_of(site)

    site.toy("later-toy")
    after = catalog_of(site)
    os.rename(site.path / "good_toy-1.0.dist-info", site.path / "good_toy-1.0.removed")
    at_last = catalog_of(site)

    assert [sorted(states(catalog)) for catalog in (before, after, at_last)] == [
        ["good-toy"],
        ["good-toy", "later-toy"],
        ["later-toy"],
    ]


# Editable installs


def source_tree(tmp_path: Path, name: str = "good-toy") -> Path:
    """A project whose package lies in `src/`, as one edits it."""
    FakeSite(tmp_path / "project" / "src").toy(name)
    source = tmp_path / "project" / "src"
    for file in (source / "good_toy-1.0.dist-info").iterdir():
        file.unlink()
    (source / "good_toy-1.0.dist-info").rmdir()
    return source


def editable_info(site: FakeSite, record: str, **files: str) -> None:
    points = "[automodels.plugins]\ngood-toy = good_toy:automodels.toml\n"
    url = '{"url": "file:///project", "dir_info": {"editable": true}}'
    site.distribution("good-toy", files={"entry_points.txt": points, "RECORD": record, "direct_url.json": url, **files})


@pytest.mark.parametrize("pth", ["_good_toy.pth", "_editable_impl_good_toy.pth", "__editable__.good_toy-1.0.pth"])
def test_an_editable_install_through_a_pth_file_is_found(site, tmp_path, pth):
    source = source_tree(tmp_path)
    site.write(site.path, {pth: f"# a comment\nimport sys; sys.exit(3)\n\n{source}\n"})
    editable_info(site, f"{pth},sha256=abc,10\ngood_toy-1.0.dist-info/RECORD,,\n")

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.editable, plugin.location) == ("ok", True, str(source / "good_toy"))


def test_an_editable_install_through_setuptools_finder_is_found(site, tmp_path):
    source = source_tree(tmp_path)
    finder = f"import sys\nMAPPING: dict[str, str] = {{'good_toy': {str(source / 'good_toy')!r}}}\nsys.exit(3)\n"
    site.write(site.path, {"__editable___good_toy_1_0_finder.py": finder})
    editable_info(site, "__editable___good_toy_1_0_finder.py,,\n__editable__.good_toy-1.0.pth,,\n")

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.editable) == ("ok", True)


@pytest.mark.parametrize(
    "mapping",
    [
        "{'good_toy'}",
        "{[]: 1}",
        "{'good_toy': 3}",
        "{'good_toy': open('x')}",
        "{" * 5000 + "}" * 5000,
        "{'a\0': 1}",
        "{}",
    ],
)
def test_a_finder_whose_mapping_is_something_else_is_a_broken_plugin(site, mapping):
    site.write(site.path, {"__editable___good_toy_finder.py": f"MAPPING = {mapping}\n"})
    editable_info(site, "__editable___good_toy_finder.py,,\n")

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.fatal.code) == ("broken", "P103")


def test_a_develop_install_through_an_egg_link_is_found_beside_its_sources(site, tmp_path):
    source = source_tree(tmp_path)
    points = "[automodels.plugins]\ngood-toy = good_toy:automodels.toml\n"
    site.write(site.path, {"good-toy.egg-link": f"{source}\n../", "easy-install.pth": f"{source}\n"})
    info = {"PKG-INFO": "Name: good-toy\nVersion: 3.1.dev0\n", "entry_points.txt": points}
    FakeSite.write(source / "good_toy.egg-info", info)

    catalog = load_catalog(path=[str(site.path), str(source)])

    (plugin,) = catalog.plugins
    assert (plugin.state, plugin.editable, plugin.version) == ("ok", True, "3.1.dev0")


def test_an_egg_info_with_a_version_in_its_name_was_installed_and_is_not_editable(site):
    points = "[automodels.plugins]\ngood-toy = good_toy:automodels.toml\n"
    site.toy("good-toy")
    os.rename(site.path / "good_toy-1.0.dist-info", site.path / "elsewhere")
    info = {"PKG-INFO": "Name: good-toy\nVersion: 1.0\n", "entry_points.txt": points}
    site.write(site.path / "good_toy-1.0-py3.11.egg-info", info)

    (plugin,) = catalog_of(site).plugins

    assert (plugin.state, plugin.editable, plugin.version) == ("ok", False, "1.0")


def test_an_egg_info_that_is_a_file_is_complete(site):
    site.write(site.path, {"old_thing-2.5.egg-info": "Name: old-thing\nVersion: 2.5\n"})

    found = scan([str(site.path)])

    assert found.distributions["old-thing"].version == "2.5"
    assert found.distributions["old-thing"].problems == ()


def test_the_plugins_installed_in_this_environment_are_found_where_they_are_edited():
    catalog = load_catalog()
    editable = [plugin for plugin in catalog.plugins if plugin.editable]
    if not editable:
        pytest.skip("no plugin is installed with `pip install -e` here")

    for plugin in editable:
        assert plugin.state in ("ok", "empty"), plugin.fatal
        assert os.path.isfile(os.path.join(plugin.location, "automodels.toml"))
        assert plugin.name.replace("-", "_") == os.path.basename(plugin.location)


# Size


def test_thousands_of_distributions_are_read_without_recursion(site):
    for number in range(3000):
        info = site.path / f"d{number}-1.0.dist-info"
        info.mkdir()
    site.toy("good-toy")
    script = f"""if True:
        import sys
        sys.setrecursionlimit(150)
        from automodels.plugins.catalog import load_catalog
        found = load_catalog(path=[{str(site.path)!r}])
        print(len(found.scan.distributions), [plugin.state for plugin in found.plugins])"""

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "3001 ['ok']"


def test_hundreds_of_plugins_with_broken_ones_among_them_are_all_listed(site):
    for number in range(200):
        site.plugin(f"plugin-{number}", manifest=None if number % 10 else "[[[")

    found = list(states(catalog_of(site)).values())

    assert (found.count("empty"), found.count("broken")) == (180, 20)


@pytest.mark.parametrize(
    "value",
    ["\x1b[2J", b"\xff\x1b", 10**5000, "\u202e", ["x"] * 100, "long" * 50],
    ids=lambda value: type(value).__name__,
)
def test_what_is_shown_in_messages_is_short_and_harmless(value):
    text = shown(value)

    assert len(text) <= 60
    assert text.isascii()
    assert text.isprintable()


def test_a_value_nested_too_deeply_to_print_is_shown_by_its_type():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    assert shown(value) == "a value of type list"


@pytest.mark.parametrize("path", ["/usr/lib/python", "C:\\päth", "/home/ファイル"])
def test_harmless_paths_are_printed_as_they_are(path):
    assert printable(path) == path
