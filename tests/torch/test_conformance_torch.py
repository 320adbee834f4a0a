"""PyTorch's half of the conformance suite finds what is wrong: in BERTs that are broken one way at a time."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from tiny_models import made

from automodels.testing.conformance import ModelConformance
from automodels.testing.conformance.subject import Subject
from torch_heads import BertForMaskedLM, BertModel
from torch_runtime.testing import TorchDriver, TorchModelConformance
from torch_runtime.testing.driver import tensors
from torch_runtime.testing.subject import TorchSubject

BROKEN = Path(__file__).parent / "broken_torch_models.py"
DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


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
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={directory}", "-c", os.devnull, "--noconftest"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *nodes],
        cwd=directory, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        message = " ".join(child.get("message") for child in case if child.tag == "failure")
        errors = [child.get("message") for child in case if child.tag == "error"]
        assert not errors, f"{case.get('name')} does not get as far as it should: {errors}"
        found.setdefault(case.get("classname").rpartition(".")[2], {})[case.get("name")] = message
    return found


def test_every_broken_model_fails_the_tests_that_are_about_it(failures, catches):
    passed = {(name, test) for name, tests in failures.items() for test, message in tests.items() if not message}

    assert failures.keys() == catches.keys()
    assert passed == set()


def test_every_test_of_torch_is_failed_by_some_model(catches):
    tests = {name for name in dir(TorchModelConformance) if name.startswith("test_")} - set(dir(ModelConformance))

    caught = {test for expected in catches.values() for test in expected}

    assert tests - caught == set()
    assert caught - tests == set()


OUTLINE = "the_outline_without_memory_equals_the_real_build"
STATE_DICT = "a_state_dict_goes_from_one_model_into_another"
RESIZED = "a_vocabulary_of_another_size_changes_nothing_for_its_old_tokens"
DROPOUT = "dropout_is_for_training_and_follows_torchs_random_numbers"
CHECKPOINTING = "gradient_checkpointing_changes_no_gradient"


@pytest.mark.parametrize(
    ("name", "test", "message"),
    [
        ("OutlineThatLacksAParameter", OUTLINE, "pooler.dense.bias: outline None"),
        ("OutlineThatTakesMemory", OUTLINE, "take memory on the meta device: ['scale']"),
        ("OutlineThatTiesNothing", OUTLINE, "tied in the outline"),
        ("LoadingThatDraws", "loading_a_complete_checkpoint_draws_no_random_number", "are others after loading"),
        (
            "LoadingThatCopies",
            "loaded_parameters_lie_in_the_files_and_are_not_copied",
            "memory of their own: ['pooler.dense.bias']",
        ),
        ("LoadingThatLeavesALayerInTraining", "loading_leaves_evaluation_mode", "encoder.layer.0.attention"),
        ("StateDictThatIsNotRead", STATE_DICT, "pooler.dense.bias has other values"),
        ("StateDictThatPartsWhatIsTied", STATE_DICT, "cls.predictions.decoder.weight"),
        ("HeadThatIsNotTied", "tied_parameters_are_one", "the head's matrix is the table: False"),
        ("LoadingThatPartsWhatIsTied", "tied_parameters_are_one", "tied after loading"),
        ("TieWeightsThatDoesNothing", "tied_parameters_are_one", "tied after tie_weights()"),
        ("LoadingThatRoundsTwice", "loading_in_bfloat16_equals_casting", "has other values"),
        ("ResizingThatDrawsOldTokensToo", RESIZED, "with 3 tokens more: last_hidden_state differs"),
        ("ResizingThatTheConfigDoesNotKnow", RESIZED, "'the config': 31"),
        ("DropoutWithNumbersOfItsOwn", DROPOUT, "another seed gives the same"),
        ("DropoutWithoutTraining", DROPOUT, "in evaluation mode again"),
        ("TrainingWithoutDropout", DROPOUT, "another seed gives the same"),
        ("CacheWhosePositionsStandStill", "a_cache_gives_what_the_whole_text_gives", "tokens 3 to 4 with a cache"),
        ("BackendThatSeesPadding", "every_attention_backend_gives_what_eager_gives", "backend sdpa"),
        ("ModelThatComputesSomethingElseWhenCompiled", "the_model_is_one_graph_for_the_compiler", "compiled: pooler"),
        ("ModelThatIsFloat32InFloat64", "a_model_computes_in_float64", "pooler_output is float32"),
        ("AttentionsThatAreRounded", "a_model_computes_in_float64", "in float64, with output_attentions"),
        (
            "GradientOfOneParameterThatIsStopped",
            "gradients_are_finite_and_equal_to_numeric_ones",
            "the gradient of pooler.dense.bias is 0, the difference quotient",
        ),
        ("GradientThatIsNotFinite", "gradients_are_finite_and_equal_to_numeric_ones", "is not finite"),
        ("GradientCheckpointingThatDoesNothing", CHECKPOINTING, "has no effect: ['BertLayer']"),
        ("GradientCheckpointingOfOneLayer", CHECKPOINTING, "1 of 2 layers are not computed again"),
        ("GradientCheckpointingThatDrawsAnew", CHECKPOINTING, "with gradient checkpointing: the gradient of"),
    ],
)
def test_the_failure_says_what_is_wrong(failures, name, test, message):
    assert message in failures[f"Test{name}"][f"test_{test}"]


def test_every_test_and_every_declaration_is_documented():
    text = DOCS.read_text()
    suite = text[text.index("## What may be declared") : text.index("## Attention functions")]
    page = re.sub(r"^In Flax:.*?(?=^In PyTorch:)", "", suite, flags=re.MULTILINE | re.DOTALL)
    declared = {name for kind in (TorchSubject, Subject) for name in kind.__annotations__ if not name.startswith("_")}
    tests = {name for name in dir(TorchModelConformance) if name.startswith("test_")}

    documented = set(re.findall(r"^\| `(\w+)` \| (?!Flax:)", page, re.MULTILINE))

    assert {name for name in documented if name.startswith("test_")} == tests
    methods = {"example_inputs", "wrong_inputs", "layers", "heads", "repeated_layers"}
    assert documented - tests == declared - {"driver"} | methods


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_parameters_survive_the_driver_in_every_type(dtype):
    driver, numbers = TorchDriver(), np.random.default_rng(0)
    model = made(BertForMaskedLM)
    model.to(getattr(torch, dtype))
    kind = getattr(ml_dtypes, dtype, dtype)
    given = {
        name: numbers.normal(size=value.shape).astype(kind) for name, value in driver.parameters(model).items()
    }  # fmt: skip

    driver.set_parameters(model, given)

    found = driver.parameters(model)
    assert found.keys() == given.keys() == dict(model.named_parameters()).keys()  # tied ones once
    for name, value in given.items():
        assert found[name].dtype == np.dtype(kind)
        assert found[name].tobytes() == value.tobytes()
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_building_leaves_torchs_random_numbers_alone():
    config = made(BertModel).config
    before = torch.get_rng_state()

    model = TorchDriver().build(BertModel, config, seed=3, dtype="bfloat16")

    assert torch.equal(torch.get_rng_state(), before)
    assert model.dtype == torch.bfloat16
    assert not model.training


def test_inputs_become_what_users_of_torch_pass():
    cache = object()

    found = tensors(
        {"ids": np.ones((2, 3), np.int32), "mask": np.ones(2, bool), "states": np.ones(3, np.float32), "cache": cache},
        torch.bfloat16,
    )

    assert {name: value.dtype for name, value in found.items() if name != "cache"} == {
        "ids": torch.int64, "mask": torch.bool, "states": torch.bfloat16
    }  # fmt: skip
    assert found["cache"] is cache
