"""Flax's half of the conformance suite finds what is wrong: in BERTs that are broken one way at a time."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from automodels.testing.conformance import ModelConformance
from automodels.testing.conformance.subject import Subject
from flax_runtime.testing import FlaxModelConformance
from flax_runtime.testing.subject import FlaxSubject

BROKEN = Path(__file__).parent / "broken_flax_models.py"


@pytest.fixture(scope="module")
def catches() -> dict[str, set[str]]:
    """Class → the tests that must fail, read off the file without importing it."""
    found = {}
    for node in ast.parse(BROKEN.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            (told,) = [
                line.value for line in node.body if isinstance(line, ast.Assign) and line.targets[0].id == "catches"
            ]
            found[node.name] = set(ast.literal_eval(told))
    return found


@pytest.fixture(scope="module")
def failures(catches, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Class → test → the message with which it failed, or nothing; from one run of the tests that must fail."""
    directory = tmp_path_factory.mktemp("broken")
    suite = directory / "test_broken.py"
    suite.write_text(BROKEN.read_text())
    report = directory / "report.xml"
    nodes = [f"{suite}::{name}::{test}" for name, tests in catches.items() for test in sorted(tests)]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={directory}",
        "-c",
        os.devnull,
    ]
    done = subprocess.run(
        [*command, "--noconftest", f"--junitxml={report}", *nodes],
        cwd=directory, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        message = " ".join(child.get("message") for child in case if child.tag in ("failure", "error"))
        found.setdefault(case.get("classname").rpartition(".")[2], {})[case.get("name")] = message
    return found


def test_every_broken_model_fails_the_tests_that_are_about_it(failures, catches):
    passed = {(name, test) for name, tests in failures.items() for test, message in tests.items() if not message}

    assert failures.keys() == catches.keys()
    assert passed == set()


def test_every_test_of_flax_is_failed_by_some_model(catches):
    tests = {name for name in dir(FlaxModelConformance) if name.startswith("test_")} - set(dir(ModelConformance))

    caught = {test for expected in catches.values() for test in expected}

    assert tests - caught == set()
    assert caught - tests == set()


@pytest.mark.parametrize(
    ("name", "test", "message"),
    [
        ("AbstractTreeThatLacksALeaf", "the_abstract_build_equals_the_real_one", "pooler.dense.kernel: abstract None"),
        ("ModelThatIsCompiledAtEveryCall", "calls_of_one_shape_compile_once", "programs are compiled"),
        ("CacheWhosePositionsStandStill", "a_cache_gives_what_the_whole_text_gives", "tokens 3 to 4 with a cache"),
        (
            "GradientOfOneArrayThatIsStopped",
            "gradients_are_finite_and_equal_to_numeric_ones",
            "the gradient of pooler.dense.bias is 0, the difference quotient",
        ),
        ("GradientThatIsNotFinite", "gradients_are_finite_and_equal_to_numeric_ones", "is not finite"),
        ("GradientCheckpointingThatDoesNothing", "gradient_checkpointing_changes_no_gradient", "has no effect"),
    ],
)
def test_the_failure_says_what_is_wrong(failures, name, test, message):
    assert message in failures[f"Test{name}"][f"test_{test}"]


def test_every_test_and_every_declaration_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    page = re.sub(r"^In PyTorch:.*", "", text[text.index("## What may be declared") :], flags=re.MULTILINE | re.DOTALL)
    declared = {name for kind in (FlaxSubject, Subject) for name in kind.__annotations__ if not name.startswith("_")}
    tests = {name for name in dir(FlaxModelConformance) if name.startswith("test_")}

    documented = set(re.findall(r"^\| `(\w+)` \| (?!PyTorch:)", page, re.MULTILINE))

    assert documented >= tests
    assert {name for name in documented if name.startswith("test_")} == tests
    assert documented - tests == declared - {"driver"} | {"example_inputs", "wrong_inputs", "layers", "heads"}
