"""Every distribution is complete, and all of them are one release."""

from __future__ import annotations

import re

import automodels
from automodels.plugins.entries import FIRST_PARTY
from automodels.plugins.manifest import read_manifest

VAGUE = {"utils", "helpers", "common", "base", "misc"}


def test_there_are_eight_distributions_called_like_their_folders(distributions):
    names = {found.project["name"]: found for found in distributions}

    assert len(names) == 8
    assert {name for name, found in names.items() if found.folder.name != name} == {"automodels", "automodels-cli"}


def test_the_version_is_static_and_that_of_the_core(distribution):
    assert distribution.project["version"] == automodels.__version__
    assert "dynamic" not in distribution.project


def test_siblings_are_pinned_to_this_version(distribution, distributions):
    siblings = {found.project["name"] for found in distributions}
    project = distribution.project
    extras = [needed for extra in project.get("optional-dependencies", {}).values() for needed in extra]

    for requirement in [*project["dependencies"], *extras]:
        name, specifier = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", requirement).groups()
        if name in siblings:
            assert specifier == f"=={automodels.__version__}", requirement


def test_a_distribution_is_complete(distribution):
    package, project = distribution.package, distribution.project

    for file in (distribution.folder / "LICENSE", distribution.folder / "README.md", package / "py.typed"):
        assert file.is_file(), file
    assert project["license"] == "Apache-2.0"
    assert project["readme"] == "README.md"
    assert project["requires-python"] == ">=3.11"
    assert (distribution.folder / "README.md").read_text().startswith(f"# {project['name']}\n\n")


def test_licences_are_that_of_the_repository(distribution, repository):
    assert (distribution.folder / "LICENSE").read_bytes() == (repository / "LICENSE").read_bytes()


def test_an_import_name_is_the_distribution_name_with_underscores(distribution):
    name = distribution.project["name"].replace("-", "_")

    assert distribution.package.name == name


def test_a_plugin_declares_its_manifest_under_its_own_name(plugin):
    name = plugin.project["name"]

    manifest, problems = read_manifest(str(plugin.package / "automodels.toml"))

    assert plugin.project["entry-points"] == {"automodels.plugins": {name: f"{plugin.package.name}:automodels.toml"}}
    assert manifest is not None
    assert manifest.name == name
    assert not problems


def test_a_manifest_names_modules_that_are_there(plugin):
    manifest, _ = read_manifest(str(plugin.package / "automodels.toml"))

    references = [reference for model in manifest.models for reference in (model.config, *model.tasks.values())]
    references += [backend.implementation for backend in manifest.backends]
    own = [reference.partition(":")[0] for reference in references if reference.startswith(plugin.package.name)]

    for module in own:
        assert plugin.package.parent.joinpath(*module.split(".")).with_suffix(".py").is_file(), module


def test_first_party_are_the_plugins_of_this_repository(distributions):
    assert {found.project["name"] for found in distributions if found.is_plugin} == FIRST_PARTY


def test_a_plugin_that_offers_nothing_says_so(plugin):
    manifest, _ = read_manifest(str(plugin.package / "automodels.toml"))
    offers = manifest.models or manifest.backends or manifest.tasks

    assert manifest.summary.endswith("; offers nothing yet") == (not offers)
    assert ("nothing yet" in (plugin.folder / "README.md").read_text()) == (not offers)


def test_no_module_has_a_vague_name(distribution):
    for path in distribution.package.rglob("*"):
        assert path.stem not in VAGUE, path


def test_there_are_no_namespace_packages(distribution):
    for path in distribution.package.rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path
