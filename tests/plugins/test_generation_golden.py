"""Greedy decoding and beam search give the tokens that transformers gives (tests/golden/make_generation.py)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import automodels
from flax_gptneo import FlaxGPTNeoForCausalLM
from flax_opt import FlaxOPTForCausalLM
from flax_runtime.parameters import flatten, unflatten
from flax_runtime.saving import tensors_of

GOLDEN = Path(__file__).parent.parent / "golden"
FOLDER = GOLDEN / "generation"
CLASSES = {"opt": FlaxOPTForCausalLM, "neo": FlaxGPTNeoForCausalLM}
LARGE = ["opt_125m", "neo_125m"]
CASES = {name: json.loads((FOLDER / name / "golden.json").read_text()) for name in [*CLASSES, *LARGE]}
NEW = 14  # as in the script


def golden(name):
    with np.load(FOLDER / name / "golden.npz") as data:
        return dict(data)


def arguments(name, case):
    batch, options = CASES[name][case]
    arrays = golden(name)
    mask = arrays[f"{batch}_attention_mask"]
    return {
        "input_ids": arrays[f"{batch}_input_ids"], "attention_mask": mask, "pad_token_id": 1, "max_new_tokens": NEW,
        **options,
    }  # fmt: skip


def check(model, name, case):
    arrays = golden(name)

    found = model.generate(**arguments(name, case))

    np.testing.assert_array_equal(found.sequences, arrays[f"{case}_sequences"])
    if found.sequences_scores is not None:
        np.testing.assert_allclose(found.sequences_scores, arrays[f"{case}_scores"], rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def models():
    return {name: kind.from_pretrained(FOLDER / name) for name, kind in CLASSES.items()}


@pytest.mark.parametrize("case", CASES["opt"])
@pytest.mark.parametrize("name", CLASSES)
def test_the_tokens_are_those_of_transformers_in_pytorch(models, name, case):
    check(models[name], name, case)


@pytest.mark.parametrize("name", CLASSES)
def test_the_golden_texts_do_not_run_in_circles(name):
    arrays = golden(name)

    for case in CASES[name]:
        sequences = arrays[f"{case}_sequences"]
        assert len({tuple(row) for row in sequences.tolist()}) == len(sequences)
    new = arrays["greedy_sequences"][:, 7:]
    assert len(set(new.ravel().tolist())) >= 8


@pytest.mark.parametrize("name", LARGE)
def test_the_tokens_of_the_published_sizes_are_those_of_transformers_in_pytorch(name):
    kind = CLASSES[name.split("_")[0]]
    spec = importlib.util.spec_from_file_location("drawn", GOLDEN / "drawn.py")
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    model = kind(automodels.AutoConfig.from_pretrained(FOLDER / name), _do_init=False)
    shapes = flatten(model.params_shape_tree)
    tensors = tensors_of(shapes, model.keymap, backbone=model.base_model_prefix)
    weights = drawn.drawn_weights({tensor: lazy.shape for tensor, lazy in tensors.items()})
    # Tensors and parameters come in one order; kernels lie the other way round in checkpoints.
    values = [
        array.T if array.shape != leaf.shape or "kernel" in path else array
        for (path, leaf), array in zip(shapes.items(), weights.values(), strict=True)
    ]
    model.params = unflatten(dict(zip(shapes, values, strict=True)))

    for case in CASES[name]:
        check(model, name, case)
