"""BERT's tasks against transformers in PyTorch: golden files made by tests/golden/make_bert_tasks.py."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import automodels
import flax_bert
from automodels.checkpoint.reader import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "bert_tasks"
CASES = sorted(path.name for path in GOLDEN.iterdir())
OPTIMIZED = {"base_odd", "masked_lm_odd", "sequence_odd", "causal_lm_cross_odd"}
DECODERS = [name for name in CASES if name.startswith("causal_lm")]
CLASSES = {
    "base": ("AutoModel", "FlaxBertModel"),
    "pretraining": ("AutoModelForPreTraining", "FlaxBertForPreTraining"),
    "masked": ("AutoModelForMaskedLM", "FlaxBertForMaskedLM"),
    "next": ("AutoModelForNextSentencePrediction", "FlaxBertForNextSentencePrediction"),
    "sequence": ("AutoModelForSequenceClassification", "FlaxBertForSequenceClassification"),
    "choice": ("AutoModelForMultipleChoice", "FlaxBertForMultipleChoice"),
    "token": ("AutoModelForTokenClassification", "FlaxBertForTokenClassification"),
    "question": ("AutoModelForQuestionAnswering", "FlaxBertForQuestionAnswering"),
    "causal": ("AutoModelForCausalLM", "FlaxBertForCausalLM"),
}
WANTED = {"output_hidden_states": True, "output_attentions": True}
SPARE = 2  # slots of the cache that stay empty


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint with what the reference computes from it."""

    name: str

    @property
    def directory(self) -> Path:
        return GOLDEN / self.name

    @property
    def classes(self) -> tuple[Any, Any]:
        auto, model = CLASSES[self.name.split("_")[0]]
        return getattr(automodels, auto), getattr(flax_bert, model)

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    @functools.cache  # noqa: B019  # one model for all tests of a case: compiling takes the time
    def load(self) -> Any:
        return self.classes[0].from_pretrained(self.directory, strict=True)

    def gradients(self, model: Any) -> Any:
        """The reference's gradients as a tree: they are tensors under the names of their parameters."""
        return type(model).from_pretrained(self.directory / "gradients", config=model.config, strict=True).params


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def test_every_output_equals_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("out")

    output = model(**inputs, **WANTED)

    assert type(model) is case.classes[1]
    assert set(output.keys()) == set(expected) - {"loss"}
    assert_equal_outputs(model, output, expected, inputs["attention_mask"])


def test_ids_alone_mean_no_padding_first_segment_counted_positions_and_no_encoder(case):
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("plain")

    output = model(inputs["input_ids"])

    assert set(output.keys()) == set(expected)
    assert_equal_outputs(model, output, expected, np.ones_like(inputs["attention_mask"]))


def test_the_loss_and_its_gradient_for_every_parameter_equal_the_reference_implementation(case):
    model, inputs, labels = case.load(), case.arrays("in"), case.arrays("label")

    def loss_of(params):
        return loss(model, model(**inputs, params=params), labels)

    value, gradients = jax.value_and_grad(loss_of)(model.params)

    np.testing.assert_allclose(value, case.arrays("out")["loss"], rtol=1e-5)
    assert_equal_gradients(gradients, case.gradients(model))


@pytest.mark.parametrize("name", DECODERS)
def test_a_cache_gives_the_logits_that_the_reference_decodes_token_by_token(name):
    case = Case(name)
    model, inputs, expected = case.load(), case.arrays("in"), case.arrays("step")["logits"]
    mask = inputs["attention_mask"]
    across = {name: array for name, array in inputs.items() if name.startswith("encoder_")}
    positions = np.maximum(np.cumsum(mask, axis=-1) - 1, 0)
    whole_mask = np.pad(mask, ((0, 0), (0, SPARE)), constant_values=1)
    cache = model.init_cache(len(mask), whole_mask.shape[1])

    found = []
    for start, stop in [(0, 3), *((at, at + 1) for at in range(3, mask.shape[1]))]:
        output = model(
            inputs["input_ids"][:, start:stop],
            attention_mask=whole_mask,
            position_ids=positions[:, start:stop],
            past_key_values=cache,
            **across,
        )
        cache = output.past_key_values
        found.append(output.logits)

    real = mask.astype(bool)
    np.testing.assert_allclose(np.concatenate(found, axis=1)[real], expected[real], atol=1e-5)


def test_an_untied_decoder_computes_with_the_bias_that_pytorch_computes_with():
    case = Case("masked_lm_untied")
    tensors = Checkpoint.open(case.directory)
    bias = tensors["cls.predictions.decoder.bias"].numpy()

    params = case.load().params["cls"]["predictions"]

    assert not np.array_equal(tensors["cls.predictions.bias"].numpy(), bias)
    np.testing.assert_array_equal(params["bias"], bias)
    np.testing.assert_array_equal(params["decoder"]["kernel"], tensors["cls.predictions.decoder.weight"].numpy().T)


def assert_equal_outputs(model: Any, output: Any, expected: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Equal to 1e-5; what a decoder computes at padding, where no token is seen, counts for nothing."""
    counts = mask if model.config.is_decoder else np.ones_like(mask)
    for name, value in output.items():
        found = np.stack(value) if isinstance(value, tuple) else np.asarray(value)
        assert found.shape == expected[name].shape, name
        kept = counted(name, counts) if model.config.is_decoder else np.ones(())
        np.testing.assert_allclose(found * kept, expected[name] * kept, atol=1e-5, err_msg=name)


def counted(name: str, mask: np.ndarray) -> np.ndarray:
    """The mask of queries, with the axes of an output."""
    if name == "pooler_output":  # of the first token
        return mask[:, :1]
    if name.endswith("attentions"):
        return mask[None, :, None, :, None]
    return mask[None, :, :, None] if name == "hidden_states" else mask[:, :, None]


def assert_equal_gradients(found: Any, expected: Any) -> None:
    """Equal to 1e-4, relative; floors are 1e-5 of an array's largest number and 1e-6 of all: float32 cancels."""
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        other = found
        for key in path:
            other = other[key.key]
        name = jax.tree_util.keystr(path)
        floor = max(1e-5 * float(np.abs(leaf).max()), 1e-6 * largest)
        np.testing.assert_allclose(other, leaf, rtol=1e-4, atol=floor, err_msg=name)
    assert jax.tree.structure(found) == jax.tree.structure(expected)


def loss(model: Any, output: Any, labels: dict[str, np.ndarray]) -> jax.Array:
    """What the reference computes from the same labels."""
    match type(model).__name__:
        case "FlaxBertModel":
            return sum((output[name] * weights).sum() for name, weights in labels.items())
        case "FlaxBertForPreTraining":
            return cross_entropy(output.prediction_logits, labels["labels"]) + cross_entropy(
                output.seq_relationship_logits, labels["next_sentence_label"]
            )
        case "FlaxBertForCausalLM":  # the next token
            return cross_entropy(output.logits[:, :-1], labels["labels"][:, 1:])
        case "FlaxBertForQuestionAnswering":
            first = cross_entropy(output.start_logits, labels["start_positions"])
            return (first + cross_entropy(output.end_logits, labels["end_positions"])) / 2
    problem = getattr(model.config, "problem_type", None)
    if problem == "regression":
        return jnp.mean((output.logits[:, 0] - labels["labels"]) ** 2)
    if problem == "multi_label_classification":
        return jnp.mean(jnp.logaddexp(output.logits, 0.0) - labels["labels"] * output.logits)
    return cross_entropy(output.logits, labels["labels"])


def cross_entropy(logits: jax.Array, labels: np.ndarray) -> jax.Array:
    """Mean over the labels that name a class; others count for nothing."""
    counts = (labels >= 0) & (labels < logits.shape[-1])
    chosen = np.where(counts, labels, 0)[..., None]
    likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), chosen, axis=-1)[..., 0]
    return -(likelihood * counts).sum() / counts.sum()
