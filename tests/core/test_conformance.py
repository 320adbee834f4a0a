"""The conformance suite passes what is right, and finds what is wrong: in a toy that is broken one way at a time."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import ClassVar

import pytest

from automodels.config import PretrainedConfig, Size
from automodels.testing.conformance import ModelConformance
from automodels.testing.conformance.config_tests import ConfigTests
from automodels.testing.firewall import import_without
from automodels.testing.sites import FakeSite

TOY = Path(__file__).parent / "toy_plugin"
ROGUE = """
    from np_toy.config import ToyConfig
    from np_toy.modeling import Toy

    try:
        import jax.numpy
    except ImportError:
        jax = None

    class RogueConfig(ToyConfig): ...

    class RogueToy(Toy):
        config_class = RogueConfig
"""


def plant(directory: Path) -> FakeSite:
    """A site with the toy plugin and the suite's file."""
    site = FakeSite(directory)
    files = {name: (TOY / name).read_text() for name in ("config.py", "keymap.py", "modeling.py")}
    site.plugin("np-toy", (TOY / "automodels.toml").read_text(), files=files)
    site.package("np_rogue", {"__init__.py": ROGUE})
    (directory / "test_toys.py").write_text((TOY / "suite.py").read_text())
    return site


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Class → test → `passed`, `failed` or `skipped`, from one run of all toys."""
    site = plant(tmp_path_factory.mktemp("conformance") / "site")
    report = site.path / "report.xml"
    environment = {**os.environ, "AUTOMODELS_PLUGINS": "np-toy", "PYTHONPATH": str(site.path)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={site.path}",
        "-c",
        os.devnull,
    ]
    done = subprocess.run(
        [*command, "--noconftest", f"--junitxml={report}", str(site.path / "test_toys.py")],
        cwd=site.path, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = "skipped" if kinds == ["skipped"] else "failed" if kinds else "passed"
        found.setdefault(case.get("classname").rpartition(".")[2], {})[case.get("name")] = outcome
    return found


@pytest.fixture(scope="module")
def catches() -> dict[str, set[str]]:
    """Class → the tests that must fail, read off the suite's file without importing it."""
    found = {}
    for node in ast.parse((TOY / "suite.py").read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            told = [
                line.value for line in node.body if isinstance(line, ast.Assign) and line.targets[0].id == "catches"
            ]
            found[node.name] = set(ast.literal_eval(told[0])) if told else set()
    return found


def failed(tests: dict[str, str]) -> set[str]:
    return {name for name, outcome in tests.items() if outcome == "failed"}


def test_a_model_that_is_right_passes_every_test(outcomes):
    assert failed(outcomes["TestToy"]) == set()
    assert failed(outcomes["TestToyForLabels"]) == set()
    skipped = {name for name, outcome in outcomes["TestToyForLabels"].items() if outcome == "skipped"}
    assert skipped == {
        "test_generated_tokens_are_the_most_probable_ones",
        "test_a_text_ends_with_the_token_that_ends_it",
    }
    assert failed(outcomes["TestToyForCausalLM"]) == set()
    skipped = {name for name, outcome in outcomes["TestToyForCausalLM"].items() if outcome == "skipped"}
    assert skipped == {
        "test_a_checkpoint_of_the_backbone_alone_leaves_the_head_fresh"
    }  # its head is its table of tokens
    assert failed(outcomes["TestToyOfTheExample"]) == set()


def test_every_broken_toy_fails_the_tests_that_are_about_it(outcomes, catches):
    missed = {}
    for name, expected in catches.items():
        found = failed(outcomes[name])
        bare = {test.partition("[")[0] for test in found}
        if lost := {test for test in expected if test not in found | bare}:
            missed[name] = lost

    assert outcomes.keys() == catches.keys()
    assert missed == {}


def test_every_test_of_the_suite_is_failed_by_some_toy(catches):
    tests = {name for name in dir(ModelConformance) if name.startswith("test_")}

    caught = {test.partition("[")[0] for expected in catches.values() for test in expected}

    assert tests - caught == set()


def test_padding_is_judged_side_by_side(outcomes):
    positions = outcomes["TestModelThatIgnoresPositions"]

    assert positions["test_padding_changes_nothing[left]"] == "failed"
    assert positions["test_padding_changes_nothing[right]"] == "passed"


def test_what_is_expected_to_fail_may_fail_and_must_not_pass(outcomes):
    test = "test_the_seed_decides_fresh_parameters"

    assert outcomes["TestExpectedFailures"][test] == "skipped"  # as reports in this format call it
    assert failed(outcomes["TestExpectedFailures"]) == set()
    assert outcomes["TestExpectedFailureThatPasses"][test] == "failed"


def test_expected_failures_need_a_test_and_a_reason():
    with pytest.raises(TypeError, match="no such test"):
        type("Broken", (ModelConformance,), {"expected_failures": {"test_of_something": "because"}})
    with pytest.raises(TypeError, match="does not say why"):
        type("Broken", (ModelConformance,), {"expected_failures": {"test_wrong_inputs_are_refused": " "}})


def test_the_firewall_names_the_line_that_imports_a_framework(tmp_path, monkeypatch):
    site = plant(tmp_path / "site")
    monkeypatch.syspath_prepend(str(site.path))

    report = import_without("np_rogue")

    assert not report.passed
    assert set(report.attempts) == {"jax"}
    assert report.attempts["jax"].endswith("np_rogue/__init__.py:6")
    assert report.failures == {}


def test_the_firewall_lets_through_what_imports_no_framework(tmp_path, monkeypatch):
    site = FakeSite(tmp_path / "site")
    asks = "import importlib.util\nTHERE = importlib.util.find_spec('jax') is not None\n"
    site.package("asks_only", {"__init__.py": asks})
    monkeypatch.syspath_prepend(str(site.path))

    assert str(import_without("asks_only", "automodels.families.bert")) == "no framework is imported"


def test_the_firewall_names_a_module_that_cannot_be_imported():
    report = import_without("automodels.no_such_module")

    assert not report.passed
    assert "automodels.no_such_module" in report.failures


def test_the_firewall_is_a_command():
    command = [sys.executable, "-m", "automodels.testing.firewall"]

    good = subprocess.run([*command, "automodels.config"], capture_output=True, text=True, check=False)
    bad = subprocess.run([*command, "automodels.no_such_module"], capture_output=True, text=True, check=False)

    assert (good.returncode, good.stdout) == (0, "no framework is imported\n")
    assert bad.returncode == 1
    assert "cannot be imported" in bad.stdout


class RespeltConfig(PretrainedConfig):
    """A family whose files spell a field in another way."""

    model_type = "respelt"
    aliases: ClassVar = {**PretrainedConfig.aliases, "n_embd": "hidden_size"}
    written_as: ClassVar = {"hidden_size": "n_embd"}

    hidden_size: Size = 8
    """Width."""


@pytest.mark.parametrize("key", ["n_embd", "hidden_size"])
def test_a_field_that_files_spell_in_another_way_may_be_declared_in_both(key):
    class Declared(ConfigTests):
        fields: ClassVar = {key: 12}

    Declared().test_a_config_keeps_every_value_that_was_given(RespeltConfig(**{key: 12}))
    with pytest.raises(AssertionError, match="is 13; 12 was given"):
        Declared().test_a_config_keeps_every_value_that_was_given(RespeltConfig(**{key: 13}))


SILENT = """
    import pytest
    from automodels.testing.conformance.generation_tests import GenerationTests

    class TestSilent(GenerationTests):
        model_class = object

        @pytest.fixture
        def model(self):
            raise AssertionError("a model was built")

        @pytest.fixture
        def config(self): ...

        @pytest.fixture
        def inputs(self): ...
"""


def test_no_model_is_built_for_a_class_that_does_not_generate(tmp_path):
    file = tmp_path / "test_silent.py"
    file.write_text(textwrap.dedent(SILENT))
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), str(file)]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)

    assert "2 skipped" in done.stdout, done.stdout + done.stderr
