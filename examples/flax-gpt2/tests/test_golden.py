"""The models compute what transformers computes from the same files; `make_golden.py` wrote what is expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from automodels import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification
from automodels.checkpoint.keymap import TRANSPOSED
from automodels.errors import InputError
from flax.traverse_util import flatten_dict

from flax_gpt2.keymap import KEYMAP

GOLDEN = Path(__file__).parent / "golden"


def wanted(name: str) -> Mapping[str, np.ndarray]:
    with np.load(GOLDEN / name / "outputs.npz") as file:
        return dict(file)


def assert_close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.fixture(scope="module")
def causal() -> Any:
    """Of several safetensors files, with nothing missing and nothing left over."""
    return AutoModelForCausalLM.from_pretrained(GOLDEN / "sharded", framework="flax", strict=True)


@pytest.fixture(scope="module")
def expected() -> Mapping[str, np.ndarray]:
    return wanted("sharded")


def test_logits_states_and_attentions_are_those_of_the_reference(causal: Any, expected: Any) -> None:
    assert len(causal.load_report.files) == 4
    kept = expected["mask"].astype(bool)  # what stands at padding is nobody's business

    found = causal(expected["ids"], expected["mask"], output_attentions=True, output_hidden_states=True)

    assert_close(found.logits[kept], expected["logits"][kept])
    assert len(found.hidden_states) == 4
    for i, state in enumerate(found.hidden_states):
        assert_close(state[kept], expected[f"state_{i}"][kept])
    assert len(found.attentions) == 3
    for i, weights in enumerate(found.attentions):
        assert_close(jnp.moveaxis(weights, 1, 2)[kept], np.moveaxis(expected[f"attention_{i}"], 1, 2)[kept])


def test_tokens_are_those_of_the_reference_behind_padding(causal: Any, expected: Any) -> None:
    prompts = {"input_ids": expected["prompts"], "attention_mask": expected["prompt_mask"]}

    greedy = causal.generate(**prompts, max_new_tokens=12, do_sample=False)

    np.testing.assert_array_equal(greedy.sequences, expected["greedy"])


def test_beams_are_those_of_the_reference_behind_padding(causal: Any, expected: Any) -> None:
    prompts = {"input_ids": expected["prompts"], "attention_mask": expected["prompt_mask"]}

    beams = causal.generate(**prompts, max_new_tokens=12, num_beams=3, num_return_sequences=2)

    np.testing.assert_array_equal(beams.sequences, expected["beams"])
    assert_close(beams.sequences_scores, expected["beam_scores"])


def test_gradients_are_those_of_the_reference(causal: Any, expected: Any) -> None:
    ids = expected["ids"][:1]

    def loss_of(params: Any) -> jax.Array:
        logits = causal(ids, params=params).logits[:, :-1]
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), ids[:, 1:, None], axis=-1).mean()

    loss, gradients = jax.value_and_grad(loss_of)(causal.params)

    assert_close(loss, expected["loss"])
    flat = flatten_dict(gradients, sep=".")
    assert len(flat) == sum(name.startswith("gradient of ") for name in expected)
    for parameter, gradient in flat.items():
        tensor, layout = KEYMAP.tensor(parameter.removeprefix("transformer."))
        reference = expected[f"gradient of transformer.{tensor}"]
        assert_close(gradient, reference.T if layout is TRANSPOSED else reference)


def test_files_of_the_first_versions_hold_the_same(causal: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "old", framework="flax", strict=True)

    assert sorted(model.load_report.buffers)[:2] == ["h.0.attn.bias", "h.0.attn.masked_bias"]
    assert jax.tree.all(jax.tree.map(lambda one, other: bool((one == other).all()), model.params, causal.params))


def test_a_backbone_is_found_in_a_causal_model(causal: Any, expected: Any) -> None:
    model = AutoModel.from_pretrained(GOLDEN / "sharded", framework="flax", strict=True)

    found = model(expected["ids"][:1]).last_hidden_state

    assert_close(found, expected["state_3"][:1])


def test_options_of_attention_and_a_head_of_its_own_are_followed(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "scaled", framework="flax", strict=True)
    expected = wanted("scaled")
    kept = expected["mask"].astype(bool)

    found = model(expected["ids"], expected["mask"])

    assert "lm_head" in model.params
    assert_close(found.logits[kept], expected["logits"][kept])
    model.save_pretrained(tmp_path)
    written, read = (json.loads((place / "config.json").read_text()) for place in (tmp_path, GOLDEN / "scaled"))
    assert {key: written[key] for key in read} == read
    assert written.keys() - read.keys() == {"automodels"}


def test_checkpoints_of_transformers_flax_models_hold_kernels_as_parameters_do() -> None:
    model = AutoModelForCausalLM.from_pretrained(GOLDEN / "msgpack", framework="flax", strict=True)
    expected = wanted("msgpack")

    assert model.load_report.files == ("flax_model.msgpack",)
    assert_close(model(expected["ids"]).logits, expected["logits"])


@pytest.fixture(scope="module")
def classifier() -> Any:
    return AutoModelForSequenceClassification.from_pretrained(GOLDEN / "classifier", framework="flax", strict=True)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_is_classified_by_its_last_token(classifier: Any, side: str) -> None:
    expected = wanted("classifier")

    found = classifier(expected[f"{side}_ids"], expected[f"{side}_mask"])

    assert_close(found.logits, expected[f"{side}_logits"])


def test_a_text_without_a_mask_ends_before_tokens_of_padding(classifier: Any) -> None:
    expected = wanted("classifier")

    found = classifier(expected["right_ids"])

    assert_close(found.logits, expected["right_logits"])


def test_a_classifier_takes_no_cache(classifier: Any) -> None:
    with pytest.raises(InputError, match="past_key_values"):
        classifier([[8, 9]], past_key_values=classifier.init_cache(1, 8))
