"""OPT and GPT-Neo against transformers in PyTorch: golden files made by tests/golden/make_opt_gptneo.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import automodels
from automodels.checkpoint.reader import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "opt_gptneo"
CASES = sorted(path.name for path in GOLDEN.iterdir())
OPTIMIZED = {"opt", "opt_post", "neo"}
WANTED = {"output_hidden_states": True, "output_attentions": True}
SPARE = 2  # slots of the cache that stay empty


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint with what the reference computes from it."""

    name: str

    @property
    def directory(self) -> Path:
        return GOLDEN / self.name

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    def load(self, **options: Any) -> Any:
        auto = automodels.AutoModel if "base" in self.name else automodels.AutoModelForCausalLM
        return auto.from_pretrained(self.directory, strict=True, **options)

    def gradients(self, model: Any) -> Any:
        """The reference's gradients as a tree: they are tensors under the names of their parameters."""
        return type(model).from_pretrained(self.directory / "gradients", config=model.config, strict=True).params


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_a_checkpoint_of_each_task_is_loaded_by_its_class():
    found = {type(Case(name).load(_do_init=False)[0]).__name__ for name in CASES}

    assert found == {"FlaxOPTModel", "FlaxOPTForCausalLM", "FlaxGPTNeoModel", "FlaxGPTNeoForCausalLM"}


def test_every_output_equals_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("out")
    real = inputs["attention_mask"].astype(bool)

    output = model(**inputs, **WANTED)

    *states, last = output.hidden_states
    assert_close(output[0], expected["logits" if "logits" in expected else "last_hidden_state"], real)
    assert_close(np.stack(states, axis=2), np.moveaxis(expected["hidden_states"], 0, 2), real)
    assert_close(last, expected["last_state"], real)
    assert_close(np.moveaxis(np.stack(output.attentions), (0, 3), (2, 1)), by_query(expected["attentions"]), real)


def test_ids_alone_mean_no_padding_and_counted_positions(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("plain")

    output = model(inputs["input_ids"])

    assert_close(output[0], expected["result"], np.ones_like(inputs["attention_mask"], bool))


def test_positions_that_are_given_stand_in_for_counted_ones(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("placed")

    output = model(inputs["input_ids"], position_ids=expected["positions"])

    assert_close(output[0], expected["result"], np.ones_like(inputs["attention_mask"], bool))


def test_the_loss_and_its_gradient_for_every_parameter_equal_the_reference_implementation(case):
    model, inputs, labels = case.load(), case.arrays("in"), case.arrays("label")

    def loss_of(params):
        result = model(**inputs, params=params)[0]
        if "labels" not in labels:
            return (result * labels["last_hidden_state"]).sum()
        return next_token_loss(result, labels["labels"])

    value, gradients = jax.value_and_grad(loss_of)(model.params)

    np.testing.assert_allclose(value, case.arrays("out")["loss"], rtol=1e-5)
    assert_equal_gradients(gradients, case.gradients(model))


def test_a_cache_gives_what_the_reference_decodes_token_by_token(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("step")["result"]
    mask = inputs["attention_mask"]
    whole_mask = np.pad(mask, ((0, 0), (0, SPARE)), constant_values=1)
    positions = np.maximum(np.cumsum(mask, axis=-1) - 1, 0)
    cache = model.init_cache(len(mask), whole_mask.shape[1])

    found = []
    for start, stop in [(0, 3), *((at, at + 1) for at in range(3, mask.shape[1]))]:
        # OPT counts its positions over the mask of the whole cache, unless they are given.
        given = {} if case.name.startswith("opt") else {"position_ids": positions[:, start:stop]}
        output = model(
            inputs["input_ids"][:, start:stop], attention_mask=whole_mask, past_key_values=cache, **given
        )  # fmt: skip
        cache = output.past_key_values
        found.append(output[0])

    assert_close(np.concatenate(found, axis=1), expected, mask.astype(bool))


def test_tied_checkpoints_hold_no_head_and_untied_ones_do():
    tensors = {name: set(Checkpoint.open(GOLDEN / name)) for name in ("opt", "opt_untied", "neo", "neo_untied")}

    assert {name for name, names in tensors.items() if "lm_head.weight" in names} == {"opt_untied", "neo_untied"}


def assert_close(found: Any, expected: np.ndarray, counted: np.ndarray) -> None:
    """Equal to 1e-5 where `counted` [B, T] is true: padding sees no token, and what is computed there means nothing."""
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(np.asarray(found)[counted], expected[counted], atol=1e-5, rtol=1e-5)


def by_query(attentions: np.ndarray) -> np.ndarray:
    """Attention weights [L, B, N, T, S] as [B, T, L, N, S]."""
    return np.moveaxis(attentions, (0, 3), (2, 1))


def assert_equal_gradients(found: Any, expected: Any) -> None:
    """Equal to 1e-4, relative; zero is what is a millionth of the largest number of all."""
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        other = found
        for key in path:
            other = other[key.key]
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(other, leaf, rtol=1e-4, atol=1e-6 * largest, err_msg=name)


def next_token_loss(logits: jax.Array, labels: np.ndarray) -> jax.Array:
    """Cross entropy of the next token, the mean over the labels that name one."""
    aims = labels[:, 1:]
    counts = aims >= 0
    likelihood = jax.nn.log_softmax(logits[:, :-1])
    chosen = likelihood[np.arange(len(aims))[:, None], np.arange(aims.shape[1])[None], np.where(counts, aims, 0)]
    return -(chosen * counts).sum() / counts.sum()
