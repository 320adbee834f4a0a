"""BERT's tasks against transformers' Flax models: golden files made by tests/golden/make_bert_flax.py."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict

import flax_bert

GOLDEN = Path(__file__).parents[1] / "golden" / "bert_flax"
CASES = sorted(path.name for path in GOLDEN.iterdir())
OPTIMIZED = {"base_odd", "masked_lm_odd"}
WANTED = {"output_hidden_states": True, "output_attentions": True}
CLASSES = 9


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint with what the reference computes from it."""

    name: str

    @property
    def directory(self) -> Path:
        return GOLDEN / self.name

    @property
    def described(self) -> dict[str, Any]:
        return json.loads((self.directory / "golden.json").read_text())

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    @functools.cache  # noqa: B019  # one model for all tests of a case: compiling takes the time
    def load(self) -> Any:
        return self.load_anew()

    def load_anew(self) -> Any:
        return getattr(flax_bert, self.described["class"]).from_pretrained(self.directory, strict=True)


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_there_is_a_checkpoint_of_every_class_of_the_reference():
    classes = {Case(name).described["class"] for name in CASES}

    assert len(classes) == CLASSES
    assert classes <= set(flax_bert.__all__)


def test_a_msgpack_file_loads_and_the_parameters_have_the_same_names_and_shapes(case):
    model = case.load()

    report = model.load_report
    shapes = {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(model.params).items()}
    assert (report.missing, report.unexpected) == ((), ())
    assert shapes == case.described["parameters"]


def test_fresh_parameters_have_the_same_names_and_shapes(case):
    model_class = getattr(flax_bert, case.described["class"])

    model = model_class(flax_bert.BertConfig.from_pretrained(case.directory))

    required = {".".join(path) for path in model.required_params}
    assert required == set(case.described["parameters"])
    shapes = {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(model.params).items()}
    assert shapes == case.described["parameters"]


def test_every_output_equals_the_reference_implementation(case):
    model, inputs = case.load(), case.arrays("in")

    output = model(**inputs, **WANTED)

    assert type(output).__name__ == case.described["output"]
    assert_equal_outputs(model, output, case.arrays("out"), inputs["attention_mask"])


def test_outputs_with_heads_masked_equal_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("masked")
    heads = expected.pop("heads")

    output = model(**inputs, **WANTED, head_mask=heads)

    assert_equal_outputs(model, output, expected, inputs["attention_mask"])


def test_masking_heads_without_asking_for_attentions_gives_the_same(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("masked")

    output = model(**inputs, head_mask=expected["heads"])

    assert_equal_outputs(model, output, expected, inputs["attention_mask"])


def test_ids_alone_mean_no_padding_first_segment_counted_positions_and_no_encoder(case):
    model, inputs = case.load(), case.arrays("in")

    output = model(inputs["input_ids"])

    assert_equal_outputs(model, output, case.arrays("plain"), np.ones_like(inputs["attention_mask"]))


def test_tuples_have_the_order_of_the_reference_implementation(case):
    model, inputs, described = case.load(), case.arrays("in"), case.described
    calls = {"tuple": inputs, "tuple with everything": {**inputs, **WANTED}}

    for name, call in calls.items():
        entries, named = model(**call, return_dict=False), model(**call)

        assert isinstance(entries, tuple)
        assert list(named.keys()) == described[name]
        assert len(entries) == len(described[name])
        for entry, field in zip(entries, described[name], strict=True):
            assert_equal_trees(entry, named[field])


def test_gradients_equal_the_reference_implementation(case):
    model, inputs, weights = case.load(), case.arrays("in"), case.arrays("weight")
    if case.name.endswith("one_head"):  # as when the golden file was made
        model = case.load_anew()
        model.enable_gradient_checkpointing()

    def loss_of(params):
        output = model(**inputs, params=params)
        return sum((output[name] * weight).sum() for name, weight in weights.items())

    value, gradients = jax.value_and_grad(loss_of)(model.params)

    expected = msgpack_restore((case.directory / "gradients" / "flax_model.msgpack").read_bytes())
    output = model(**inputs)
    terms = sum(np.abs(np.asarray(output[name]) * weight).sum() for name, weight in weights.items())
    np.testing.assert_allclose(value, case.arrays("out")["loss"], rtol=1e-5, atol=2e-6 * terms)  # they cancel
    assert_equal_gradients(gradients, expected)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("causal_lm")])
def test_generation_steps_give_the_logits_and_the_cache_of_the_reference_implementation(name):
    case = Case(name)
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("step")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    across = {name: array for name, array in inputs.items() if name.startswith("encoder_")}
    slots = expected["mask"].shape[1]

    prepared = model.prepare_inputs_for_generation(jnp.asarray(ids[:, :4]), slots, jnp.asarray(mask[:, :4]))
    prepared["attention_mask"] = jnp.asarray(expected["mask"])  # rows that end in padding, too
    logits, positions = [], []
    for start, stop in [(0, 4), *((at, at + 1) for at in range(4, ids.shape[1]))]:
        positions.append(prepared["position_ids"])
        output = model(ids[:, start:stop], **prepared, **across)
        logits.append(output.logits)
        prepared = model.update_inputs_for_generation(output, prepared)

    real, cache = mask.astype(bool), prepared["past_key_values"]
    np.testing.assert_array_equal(np.concatenate(positions, axis=1)[real], expected["positions"][real])
    np.testing.assert_allclose(np.concatenate(logits, axis=1)[real], expected["logits"][real], atol=1e-5)
    assert int(cache.length) == expected["length"] == ids.shape[1]
    for found, known in ((cache.keys, expected["keys"]), (cache.values, expected["values"])):
        seen = np.pad(real, ((0, 0), (0, slots - ids.shape[1])))
        np.testing.assert_allclose(np.stack(found)[:, seen], known[:, seen], atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("causal_lm_cross")])
def test_with_a_cache_outputs_have_the_names_and_the_order_of_the_reference_implementation(name):
    case = Case(name)
    model, inputs, described = case.load(), case.arrays("in"), case.described
    call = {**inputs, **WANTED, "past_key_values": model.init_cache(*inputs["input_ids"].shape)}

    named, entries = model(**call), model(**call, return_dict=False)

    assert set(named.keys()) == set(described["names with a cache"])
    assert len(entries) == len(described["tuple with a cache"])
    for entry, field in zip(entries, described["tuple with a cache"], strict=True):
        assert_equal_trees(entry, named[field])


def test_a_msgpack_file_that_is_written_holds_the_tree_that_was_read(case, tmp_path):
    case.load().save_pretrained(tmp_path / "saved", safe_serialization=False)

    found = flatten_dict(msgpack_restore((tmp_path / "saved" / "flax_model.msgpack").read_bytes()))
    original = flatten_dict(msgpack_restore((case.directory / "flax_model.msgpack").read_bytes()))
    assert sorted(found) == sorted(original)
    for path, leaf in original.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=".".join(path))


def assert_equal_outputs(model: Any, output: Any, expected: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Equal to 1e-5; what a decoder computes at padding, where no token is seen, counts for nothing."""
    for name, value in output.items():
        found = np.stack(value) if isinstance(value, tuple) else np.asarray(value)
        assert found.shape == expected[name].shape, name
        kept = counted(name, mask) if model.config.is_decoder else np.ones(())
        np.testing.assert_allclose(found * kept, expected[name] * kept, atol=1e-5, err_msg=name)


def counted(name: str, mask: np.ndarray) -> np.ndarray:
    """The mask of queries, with the axes of an output."""
    if name == "pooler_output":  # of the first token
        return mask[:, :1]
    if name.endswith("attentions"):
        return mask[None, :, None, :, None]
    return mask[None, :, :, None] if name == "hidden_states" else mask[:, :, None]


def assert_equal_trees(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_equal_gradients(found: Any, expected: Any) -> None:
    """Equal to 1e-4, relative; floors are 1e-5 of an array's largest number and 1e-6 of all: float32 cancels."""
    found, expected = flatten_dict(found), flatten_dict(expected)
    largest = max(float(np.abs(leaf).max()) for leaf in expected.values())
    assert sorted(found) == sorted(expected)
    for path, leaf in expected.items():
        floor = max(1e-5 * float(np.abs(leaf).max()), 1e-6 * largest)
        np.testing.assert_allclose(found[path], leaf, rtol=1e-4, atol=floor, err_msg=".".join(path))
