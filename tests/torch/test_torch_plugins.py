"""torch's plugins beside a real torch: found, listed without importing it, and asked for by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import automodels
from automodels.errors import UnknownModelTypeError

pytest.importorskip("torch")

TASKS = {
    "bert": {
        "base", "pretraining", "masked-lm", "causal-lm", "next-sentence-prediction", "sequence-classification",
        "multiple-choice", "token-classification", "question-answering", "beam-question-answering",
        "sentence-embedding",
    },
    "opt": {
        "base", "causal-lm", "sequence-classification", "question-answering", "beam-question-answering",
        "sentence-embedding",
    },
    "gpt_neo": {
        "base", "causal-lm", "sequence-classification", "token-classification", "question-answering",
        "beam-question-answering", "sentence-embedding",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ["torch-runtime", "torch-heads"])
def test_the_plugins_are_found_without_a_problem(name):
    plugin = automodels.catalog().plugin(name)

    assert plugin.state == "ok"
    assert plugin.problems == ()


def test_each_family_has_every_task():
    found: dict[str, set[str]] = {}
    for entry in automodels.catalog().entries:
        if entry.plugin.name == "torch-heads":
            assert entry.framework == "torch"
            found.setdefault(entry.model_type, set()).add(entry.task)

    assert found == TASKS


def test_the_runtime_offers_every_backend():
    backends: dict[str, set[str]] = {}
    for plugin, table in automodels.catalog().backends("torch"):
        if plugin.name == "torch-runtime":
            backends.setdefault(table.kind, set()).add(table.name)
            assert table.summary, table.name

    assert backends == {
        "attention": {"sdpa", "eager", "flash", "cudnn", "efficient", "flex", "math"},
        "execution": {"uncompiled", "compile", "compile-reduce-overhead", "compile-max-autotune"},
    }


def test_a_model_type_that_no_torch_plugin_has_is_refused_with_what_there_is(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bart"}')

    with pytest.raises(UnknownModelTypeError, match="'bart'"):
        automodels.TorchAutoModel.from_pretrained(tmp_path)


def test_listing_resolving_and_importing_the_packages_does_not_import_torch():
    code = (
        "import sys, torch_heads, torch_runtime, torch_runtime.generation, automodels\n"
        "automodels.catalog().entries\n"
        "found = automodels.resolve('bert', task='masked-lm', framework='torch')\n"
        "print(found.entry.plugin.name, 'torch' in sys.modules)\n"
        "torch_runtime.TorchPreTrainedModel\n"
        "print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["torch-heads", "False", "True"]


def test_public_names_are_there_and_others_are_not():
    import torch_heads
    import torch_runtime

    for package in (torch_heads, torch_runtime):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match="Nothing"):
            package.Nothing  # noqa: B018
