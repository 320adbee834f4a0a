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
CASES = {name: json.loads((FOLDER / name / "golden.json").read_text()) for name in [*CLASSES, *LARGE, "text"]}
SAMPLING = [case for case, (_, options) in CASES["opt"].items() if options.get("do_sample")]
SEARCHES = [case for case in CASES["opt"] if case not in SAMPLING]
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
    if f"{case}_scores" in arrays:  # texts that end sequences have none
        np.testing.assert_allclose(found.sequences_scores, arrays[f"{case}_scores"], rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def models():
    return {
        (name, backend): kind.from_pretrained(FOLDER / name, backend=backend)
        for name, kind in CLASSES.items()
        for backend in ("eager", "sdpa")
    }


@pytest.mark.parametrize("case", SEARCHES)
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", CLASSES)
def test_the_tokens_are_those_of_transformers_in_pytorch(models, name, backend, case):
    check(models[name, backend], name, case)


@pytest.mark.parametrize("case", SAMPLING)
@pytest.mark.parametrize("name", CLASSES)
def test_sampling_draws_from_the_scores_that_transformers_draws_from(models, name, case):
    options = {**arguments(name, case), "max_new_tokens": 1, "output_scores": True, "return_dict_in_generate": True}
    expected = golden(name)[f"{case}_scores"]

    found = models[name, "sdpa"].generate(**options).scores[0].numpy()

    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    assert np.isfinite(expected).all() == (case in ("sampling", "temperature"))


@pytest.mark.parametrize("case", CASES["text"])
def test_texts_end_sequences_where_they_do_in_transformers(case):
    pytest.importorskip("tokenizers")
    model = OPTForCausalLM.from_pretrained(FOLDER / "text")

    check(model, "text", case, tokenizer=automodels.AutoTokenizer.from_pretrained(GOLDEN / "bpe"))


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
