"""Generation gives the tokens that transformers gives, in PyTorch and in Flax (tests/golden/make_generation*.py)."""

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
CLASSES = {"opt": FlaxOPTForCausalLM, "neo": FlaxGPTNeoForCausalLM}
LARGE = ["opt_125m", "neo_125m"]
OPTIMIZED = {*LARGE, "greedy", "beams", "sampling"}
NEW = 14  # as in the scripts
END = 10  # of every case in Flax


def cases(reference, name):
    return json.loads((GOLDEN / reference / name / "golden.json").read_text())


def golden(reference, name):
    with np.load(GOLDEN / reference / name / "golden.npz") as data:
        return dict(data)


ALL = cases("generation", "opt")
SAMPLING = [case for case, (_, options) in ALL.items() if options.get("do_sample")]
SEARCHES = [case for case in ALL if case not in SAMPLING]
IN_FLAX = list(cases("generation_flax", "opt"))


def check(model, reference, name, case, **defaults):
    """The tokens of a case; the batches are those of PyTorch."""
    batch, options = cases(reference, name)[case]
    arrays, expected = golden("generation", name), golden(reference, name)
    prompt = {part: arrays[f"{batch}_{part}"] for part in ("input_ids", "attention_mask")}

    found = model.generate(**prompt, **{"pad_token_id": 1, "max_new_tokens": NEW, **defaults, **options})

    sequences = expected[f"{case}_sequences"]
    width = found.sequences.shape[1]  # transformers in Flax fills up to the greatest length
    np.testing.assert_array_equal(found.sequences, sequences[:, :width])
    assert (sequences[:, width:] == 1).all()
    assert reference == "generation_flax" or sequences.shape[1] == width
    if f"{case}_scores" in expected:
        np.testing.assert_allclose(found.sequences_scores, expected[f"{case}_scores"], rtol=2e-5, atol=2e-5)


@pytest.fixture(scope="module")
def models():
    return {name: kind.from_pretrained(GOLDEN / "generation" / name) for name, kind in CLASSES.items()}


@pytest.mark.parametrize("case", SEARCHES)
@pytest.mark.parametrize("name", CLASSES)
def test_the_tokens_are_those_of_transformers_in_pytorch(models, name, case):
    check(models[name], "generation", name, case)


@pytest.mark.parametrize("case", IN_FLAX)
@pytest.mark.parametrize("name", CLASSES)
def test_the_tokens_are_those_of_transformers_in_flax(models, name, case):
    check(models[name], "generation_flax", name, case, eos_token_id=END)


@pytest.mark.parametrize("case", SAMPLING)
@pytest.mark.parametrize("name", CLASSES)
def test_sampling_draws_from_the_scores_that_transformers_draws_from(models, name, case):
    batch, options = ALL[case]
    arrays = golden("generation", name)
    prompt = {part: arrays[f"{batch}_{part}"] for part in ("input_ids", "attention_mask")}
    expected = arrays[f"{case}_scores"]

    found = models[name].generate(**prompt, pad_token_id=1, max_new_tokens=1, output_scores=True, **options)

    np.testing.assert_array_equal(np.isfinite(found.scores[0]), np.isfinite(expected))
    np.testing.assert_allclose(found.scores[0], expected, rtol=2e-5, atol=2e-5)
    assert np.isfinite(expected).all() == (case in ("sampling", "temperature"))


@pytest.mark.parametrize("case", cases("generation", "text"))
def test_texts_end_sequences_where_they_do_in_transformers(case):
    model = FlaxOPTForCausalLM.from_pretrained(GOLDEN / "generation" / "text")
    tokenizer = automodels.AutoTokenizer.from_pretrained(GOLDEN / "bpe")

    check(model, "generation", "text", case, tokenizer=tokenizer)


@pytest.mark.parametrize("name", CLASSES)
def test_the_golden_texts_do_not_run_in_circles(name):
    arrays = golden("generation", name)

    for case in SEARCHES:
        sequences = arrays[f"{case}_sequences"]
        assert len({tuple(row) for row in sequences.tolist()}) == len(sequences)
    new = arrays["greedy_sequences"][:, 7:]
    assert len(set(new.ravel().tolist())) >= 8


@pytest.mark.parametrize("name", LARGE)
def test_the_tokens_of_the_published_sizes_are_those_of_transformers(name):
    kind = CLASSES[name.split("_")[0]]
    spec = importlib.util.spec_from_file_location("drawn", GOLDEN / "drawn.py")
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    model = kind(automodels.AutoConfig.from_pretrained(GOLDEN / "generation" / name), _do_init=False)
    shapes = flatten(model.params_shape_tree)
    tensors = tensors_of(shapes, model.keymap, backbone=model.base_model_prefix)
    weights = drawn.drawn_weights({tensor: lazy.shape for tensor, lazy in tensors.items()})
    # Tensors and parameters come in one order; kernels lie the other way round in checkpoints.
    values = [
        array.T if array.shape != leaf.shape or "kernel" in path else array
        for (path, leaf), array in zip(shapes.items(), weights.values(), strict=True)
    ]
    model.params = unflatten(dict(zip(shapes, values, strict=True)))

    for case in cases("generation", name):
        check(model, "generation", name, case)
    for case in cases("generation_flax", name):
        check(model, "generation_flax", name, case, eos_token_id=END)
