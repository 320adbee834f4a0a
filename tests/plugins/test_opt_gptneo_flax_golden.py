"""OPT and GPT-Neo against transformers' Flax models: golden files made by tests/golden/make_opt_gptneo_flax.py."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict

import flax_gptneo
import flax_opt

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo_flax"
CASES = sorted(path.name for path in GOLDEN.iterdir())
OPTIMIZED = {"opt", "opt_post", "neo"}
WANTED = {"output_hidden_states": True, "output_attentions": True}
OURS = {"train", "unknown"}  # arguments beyond the reference's


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

    @property
    def model_class(self) -> Any:
        return getattr(flax_opt if self.name.startswith("opt") else flax_gptneo, self.described["class"])

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    def load(self) -> Any:
        return self.model_class.from_pretrained(self.directory, strict=True)


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_a_msgpack_file_loads_and_the_parameters_have_the_same_names_and_shapes(case):
    model = case.load()

    shapes = {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(model.params).items()}
    assert shapes == case.described["parameters"]
    assert (model.load_report.missing, model.load_report.unexpected) == ((), ())


def test_a_call_takes_the_arguments_of_the_reference_in_their_order(case):
    ours = list(inspect.signature(case.model_class.__call__).parameters)[1:]
    theirs = case.described["arguments"]

    assert ours[: len(theirs)] == theirs
    assert set(ours[len(theirs) :]) <= OURS


def test_every_output_equals_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("out")
    real = inputs["attention_mask"].astype(bool)

    output = model(**inputs, **WANTED)

    *states, last = output.hidden_states
    assert_close(output[0], expected["logits" if "logits" in expected else "last_hidden_state"], real)
    assert_close(np.stack(states, axis=2), np.moveaxis(expected["hidden_states"], 0, 2), real)
    assert_close(last, expected["last_state"], real)
    assert_close(np.moveaxis(np.stack(output.attentions), (0, 3), (2, 1)), by_query(expected["attentions"]), real)


def test_tuples_have_the_order_of_the_reference_implementation(case):
    model, inputs, described = case.load(), case.arrays("in"), case.described

    alone = model(**inputs, return_dict=False)
    named = model(**inputs, output_attentions=True)
    entries = model(**inputs, output_attentions=True, return_dict=False)
    cached = model(**inputs, past_key_values=model.init_cache(*inputs["input_ids"].shape), return_dict=False)

    assert [len(alone), len(entries)] == [len(described["tuple"]), len(described["tuple with attentions"])]
    assert list(named.keys()) == described["tuple with attentions"]
    np.testing.assert_array_equal(entries[1][0], named.attentions[0])
    assert type(cached[1]).__name__ == "KVCache"  # second, as the reference puts it there


def test_gradients_equal_the_reference_implementation(case):
    model, inputs, weights = case.load(), case.arrays("in"), case.arrays("weight")["result"]

    value, gradients = jax.value_and_grad(lambda params: (model(**inputs, params=params)[0] * weights).sum())(
        model.params
    )

    expected = flatten_dict(msgpack_restore((case.directory / "gradients" / "flax_model.msgpack").read_bytes()))
    found = flatten_dict(gradients)
    largest = max(float(np.abs(leaf).max()) for leaf in expected.values())
    np.testing.assert_allclose(value, case.arrays("out")["loss"], rtol=1e-4)
    assert sorted(found) == sorted(expected)
    for path, leaf in expected.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-4, atol=2e-6 * largest, err_msg=".".join(path))


def test_decoding_step_by_step_gives_the_results_and_the_cache_of_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("step")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    slots = expected["mask"].shape[1]

    prepared = model.prepare_inputs_for_generation(jnp.asarray(ids[:, :4]), slots, jnp.asarray(mask[:, :4]))
    prepared["attention_mask"] = jnp.asarray(expected["mask"])  # rows that end in padding, too
    results = []
    for start, stop in [(0, 4), *((at, at + 1) for at in range(4, ids.shape[1]))]:
        output = model(ids[:, start:stop], **prepared)
        results.append(output[0])
        prepared = model.update_inputs_for_generation(output, prepared)

    real, cache = mask.astype(bool), prepared["past_key_values"]
    assert_close(np.concatenate(results, axis=1), expected["result"], real)
    assert int(cache.length) == expected["length"] == ids.shape[1]
    seen = np.pad(real, ((0, 0), (0, slots - ids.shape[1])))
    for found, known in ((cache.keys, expected["keys"]), (cache.values, expected["values"])):
        np.testing.assert_allclose(np.stack(found)[:, seen], known[:, seen], atol=1e-5)


def test_a_msgpack_file_that_is_written_holds_the_tree_that_was_read(case, tmp_path):
    case.load().save_pretrained(tmp_path / "saved", safe_serialization=False)

    found = flatten_dict(msgpack_restore((tmp_path / "saved" / "flax_model.msgpack").read_bytes()))
    original = flatten_dict(msgpack_restore((case.directory / "flax_model.msgpack").read_bytes()))
    assert sorted(found) == sorted(original)
    for path, leaf in original.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=".".join(path))


def assert_close(found: Any, expected: np.ndarray, counted: np.ndarray) -> None:
    """Equal to 1e-5 where `counted` [B, T] is true: padding sees no token, and what is computed there means nothing."""
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(np.asarray(found)[counted], expected[counted], atol=1e-5, rtol=1e-5)


def by_query(attentions: np.ndarray) -> np.ndarray:
    """Attention weights [L, B, N, T, S] as [B, T, L, N, S]."""
    return np.moveaxis(attentions, (0, 3), (2, 1))
