"""Greedy decoding and beam search give the tokens that transformers gives (tests/golden/make_generation.py)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import automodels  # noqa: E402
from torch_heads import GPTNeoForCausalLM, OPTForCausalLM  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = GOLDEN / "generation"
CLASSES = {"opt": OPTForCausalLM, "neo": GPTNeoForCausalLM}
LARGE = ["opt_125m", "neo_125m"]
CASES = {name: json.loads((FOLDER / name / "golden.json").read_text()) for name in [*CLASSES, *LARGE]}
NEW = 14  # as in the script


def golden(name):
    with np.load(FOLDER / name / "golden.npz") as data:
        return dict(data)


def arguments(name, case):
    batch, options = CASES[name][case]
    arrays = golden(name)
    return {
        "input_ids": torch.from_numpy(arrays[f"{batch}_input_ids"]),
        "attention_mask": torch.from_numpy(arrays[f"{batch}_attention_mask"]),
        "pad_token_id": 1,
        "max_new_tokens": NEW,
        **options,
    }


def check(model, name, case, **more):
    arrays = golden(name)

    found = model.generate(**arguments(name, case), return_dict_in_generate=True, **more)

    np.testing.assert_array_equal(found.sequences, arrays[f"{case}_sequences"])
    if found.sequences_scores is not None:
        np.testing.assert_allclose(found.sequences_scores, arrays[f"{case}_scores"], rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def models():
    return {
        (name, backend): kind.from_pretrained(FOLDER / name, backend=backend)
        for name, kind in CLASSES.items()
        for backend in ("eager", "sdpa")
    }


@pytest.mark.parametrize("case", CASES["opt"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CLASSES)
def test_the_tokens_are_those_of_transformers_in_pytorch(models, name, backend, case):
    check(models[name, backend], name, case)


@pytest.mark.parametrize("case", ["greedy", "many", "beams_ends"])
@pytest.mark.parametrize("name", CLASSES)
def test_without_a_cache_the_tokens_are_the_same(models, name, case):
    check(models[name, "sdpa"], name, case, use_cache=False)


@pytest.mark.parametrize("name", LARGE)
def test_the_tokens_of_the_published_sizes_are_those_of_transformers_in_pytorch(name):
    spec = importlib.util.spec_from_file_location("drawn", GOLDEN / "drawn.py")
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    model = CLASSES[name.split("_")[0]](automodels.AutoConfig.from_pretrained(FOLDER / name)).eval()
    shapes = {path: tuple(parameter.shape) for path, parameter in model.named_parameters()}
    model.load_state_dict(
        {path: torch.from_numpy(array) for path, array in drawn.drawn_weights(shapes).items()}, strict=False
    )

    for case in CASES[name]:
        check(model, name, case)
