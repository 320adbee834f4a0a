"""The pages name everything that there is, and nothing else."""

from __future__ import annotations

import configparser
import re
from dataclasses import fields

import pytest

import automodels
from automodels import errors
from automodels.backends import Situation
from automodels.config import PretrainedConfig
from automodels.plugins.catalog import STANDARD_TASKS
from automodels.plugins.hooks import Hooks
from automodels.plugins.manifest import _Reader, read_manifest
from automodels.plugins.problems import MEANINGS
from automodels.plugins.settings import PIN_PREFIX, VARIABLES
from automodels.plugins.tables import FEATURES
from automodels_cli import exit_codes
from automodels_cli.arguments import parser
from automodels_cli.checking.codes import MEANINGS as CHECKED


def error_classes():
    found = [errors.AutomodelsError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == "automodels.errors"]


def manifest_keys():
    """The keys that the reader of manifests knows, by table."""
    keys = {}

    class Keys(_Reader):
        def only_known(self, raw, where, known):
            keys[where.removesuffix(" number 1")] = set(known)

    Keys().manifest({"model": [{}], "backend": [{}], "task": [{}], "source": [{}]})
    return keys


@pytest.fixture
def tox(repository):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(repository / "tox.ini")
    return parser


@pytest.fixture
def pages(repository):
    top = [repository / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*top, *sorted((repository / "docs").glob("*.md"))]


def test_every_error_is_documented_with_its_code_and_exit_code(rows):
    documented = {row[0].strip("`"): row[1:] for row in rows("docs/errors.md") if row[0].startswith("`AM")}

    assert documented.keys() == {kind.code for kind in error_classes()}
    for kind in error_classes():
        name, *_, code = documented[kind.code]
        assert name == f"`{kind.__name__}`"
        assert code == str(exit_codes.exit_code(kind("x"))), kind


def test_every_error_has_a_code_of_its_own_and_stands_in_the_tree():
    codes = [kind.code for kind in error_classes()]

    assert len(set(codes)) == len(codes)
    for kind in error_classes():
        assert re.search(rf"\b{kind.__name__}\b.*\b{kind.code}\b", errors.__doc__), kind


def test_every_exit_code_is_documented(rows):
    documented = {row[0] for row in rows("docs/errors.md", "## Exit codes of the command") if row[0].isdigit()}

    assert documented == {str(code) for name, code in vars(exit_codes).items() if name.isupper() and name[0] != "_"}


def test_every_problem_code_is_documented_with_its_meaning(rows):
    documented = {row[0].strip("`"): row[1] for row in rows("docs/manifest.md") if re.match(r"`P\d", row[0])}

    assert documented == MEANINGS


def test_every_code_of_a_check_is_documented_with_its_meaning(rows):
    documented = {row[0].strip("`"): row[1] for row in rows("docs/plugins.md") if re.match(r"`C\d", row[0])}

    assert documented == CHECKED


def test_every_key_of_the_manifest_is_documented_and_no_other(rows):
    headings = {"the manifest": "## The top", "[[model]]": "## `[[model]]`", "[[backend]]": "## `[[backend]]`"}
    headings |= {"[[task]]": "## `[[task]]`", "[[source]]": "## `[[source]]`"}

    assert manifest_keys().keys() == headings.keys()
    for table, keys in manifest_keys().items():
        documented = {row[0].strip("`") for row in rows("docs/manifest.md", headings[table]) if row[0].startswith("`")}
        assert documented == keys, table


def test_every_backend_of_ours_is_documented_with_its_devices_and_no_other(rows, distributions):
    documented = {tuple(row[:3]): row[3] for row in rows("docs/backends.md", "## Those of this release")[2:]}

    manifests = [read_manifest(str(each.package / "automodels.toml"))[0] for each in distributions if each.is_plugin]
    tables = [table for manifest in manifests for table in manifest.backends]
    assert documented == {
        (f"`{table.framework}`", f"`{table.name}`", f"`{table.kind}`"): ", ".join(table.devices) for table in tables
    }
    assert [table.name for table in tables if not table.summary] == []


def test_every_feature_of_attention_is_documented(rows):
    documented = [row[0].strip("`") for row in rows("docs/backends.md", "## How one is chosen") if row[0][0] == "`"]

    assert sorted(documented) == sorted(FEATURES)


def test_everything_that_a_probe_is_told_is_documented(rows):
    documented = [row[0].strip("`") for row in rows("docs/backends.md", "### Probes") if row[0][0] == "`"]

    assert documented == [field.name for field in fields(Situation)]


def test_every_option_of_registry_backends_is_documented(rows):
    documented = {
        name for row in rows("docs/backends.md", "## On this machine") for name in re.findall(r"--[a-z][a-z-]*", row[0])
    }

    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    known = {name for action in commands.choices["backends"]._actions for name in action.option_strings}
    assert documented == {name for name in known if name.startswith("--")} - {"--help", "--traceback"}


def test_every_standard_task_is_documented_with_its_class(rows):
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows("docs/manifest.md", "## Tasks")[2:]}

    assert documented == dict(STANDARD_TASKS)


def test_every_variable_is_documented(rows):
    documented = {row[0].strip("`") for row in rows("docs/resolution.md") if row[0].startswith("`AUTOMODELS_")}

    assert documented == {*VARIABLES, f"{PIN_PREFIX}<TYPE>"}


def test_no_page_names_a_variable_that_does_not_exist(pages):
    for page in pages:
        for name in re.findall(r"(?<![*A-Z_])AUTOMODELS_[A-Z_]*[A-Z]", page.read_text()):
            assert name in VARIABLES or name.startswith((PIN_PREFIX, PIN_PREFIX[:-1], "AUTOMODELS_DEMO_")), (page, name)


def test_every_hook_is_documented(repository):
    hooks = {name for name in vars(Hooks) if not name.startswith("_")}
    page = (repository / "docs/plugins.md").read_text()

    assert set(re.findall(r"^### `(\w+)`$", page, re.MULTILINE)) == hooks


def test_links_lead_somewhere(repository, pages):
    for page in [*pages, *repository.glob("*/README.md"), *repository.glob("*/*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_the_index_links_every_page(repository):
    index = (repository / "docs/index.md").read_text()

    for page in (repository / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index, page


def test_pages_that_the_sources_name_are_there(repository, modules):
    for source in modules("core/src", "registry/src", "plugins"):
        for page in re.findall(r"\bdocs/\w+\.md\b", source.path.read_text()):
            assert (repository / page).is_file(), (source, page)


def test_the_threat_model_names_tests_that_exist(repository):
    named = set(re.findall(r"`(test_\w+)`", (repository / "docs/threat-model.md").read_text()))
    there = {
        name
        for source in (repository / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", source.read_text(), re.MULTILINE)
    }

    assert len(named) > 30
    assert named - there == set()


def test_the_readme_names_every_distribution(rows, distributions):
    documented = {row[0].split("`")[1] for row in rows("README.md") if row[0].startswith("`")}

    assert {found.project["name"] for found in distributions} <= documented


def test_the_tests_are_run_by_the_readme_as_by_ci(repository):
    last = (repository / ".ci/run").read_text().strip().splitlines()[-1]
    command = re.sub(r"^exec \S*/", "", last)

    shown = re.findall(r"^```sh\n(.*?)^```", (repository / "README.md").read_text(), re.MULTILINE | re.DOTALL)

    assert command == "tox run"
    assert command in [line for block in shown for line in block.splitlines()]


def test_every_environment_of_tox_is_explained(rows, tox):
    documented = {row[0].strip("`") for row in rows("CONTRIBUTING.md") if row[0].startswith("`")}
    there = [section.removeprefix("testenv:") for section in tox.sections() if section.startswith("testenv:")]

    assert documented == set(there)


def test_what_tox_runs_is_there(repository, tox):
    for section in tox.sections():
        for path in re.findall(
            r"(?<![\w./-])(?:tests|benchmarks|examples|docs)/[\w./-]+", tox[section].get("commands", "")
        ):
            assert (repository / path).exists(), (section, path)


def test_pages_run_environments_that_exist(pages, tox):
    for page in pages:
        for names in re.findall(r"tox run -e ([a-z,-]+)", page.read_text()):
            for name in names.split(","):
                assert f"testenv:{name}" in tox, (page, name)


def test_the_changelog_has_this_version(repository):
    changes = (repository / "CHANGELOG.md").read_text()

    assert re.search(rf"^## {re.escape(automodels.__version__)}\b", changes, re.MULTILINE)


def test_every_field_that_all_configs_have_is_documented(rows):
    documented = {name for row in rows("docs/configs.md", "### Fields that every config has") for name in named(row[0])}

    assert documented - {"field"} == set(PretrainedConfig.model_fields)


def test_every_output_of_the_runtimes_is_documented(repository, rows):
    documented = {name for row in rows("docs/plugins.md", "## What calls return") for name in named(row[0])}
    in_flax, in_torch = (
        set(re.findall(r"^class (\w+)\(ModelOutput\)", (repository / path).read_text(), re.MULTILINE))
        for path in (
            "plugins/flax-runtime/src/flax_runtime/outputs.py",
            "plugins/torch-runtime/src/torch_runtime/outputs.py",
        )
    )

    assert documented - {"flax_runtime.outputs", "torch_runtime.outputs"} == in_flax | (
        in_torch - {name.removeprefix("Flax") for name in in_flax}
    )
    assert {name.removeprefix("Flax") for name in in_flax} - in_torch == {"SentenceEmbeddingOutput"}


def named(cell):
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)
