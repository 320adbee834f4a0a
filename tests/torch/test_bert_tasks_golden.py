"""BERT's tasks in PyTorch against transformers: golden files made by tests/golden/make_bert_tasks.py."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import automodels
import torch_heads
from automodels.checkpoint.reader import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "bert_tasks"
CASES = sorted(path.name for path in GOLDEN.iterdir())
DECODERS = [name for name in CASES if name.startswith("causal_lm")]
CLASSES = {
    "base": ("AutoModel", "BertModel"),
    "pretraining": ("AutoModelForPreTraining", "BertForPreTraining"),
    "masked": ("AutoModelForMaskedLM", "BertForMaskedLM"),
    "next": ("AutoModelForNextSentencePrediction", "BertForNextSentencePrediction"),
    "sequence": ("AutoModelForSequenceClassification", "BertForSequenceClassification"),
    "choice": ("AutoModelForMultipleChoice", "BertForMultipleChoice"),
    "token": ("AutoModelForTokenClassification", "BertForTokenClassification"),
    "question": ("AutoModelForQuestionAnswering", "BertForQuestionAnswering"),
    "causal": ("AutoModelForCausalLM", "BertLMHeadModel"),
}
WANTED = {"output_hidden_states": True, "output_attentions": True}


@dataclasses.dataclass(frozen=True)
class Case:
    """One checkpoint with what the reference computes from it."""

    name: str
    backend: str

    @property
    def directory(self) -> Path:
        return GOLDEN / self.name

    def arrays(self, group: str) -> dict[str, np.ndarray]:
        with np.load(self.directory / "golden.npz") as data:
            return {name.removeprefix(f"{group}_"): data[name] for name in data.files if name.startswith(f"{group}_")}

    def tensors(self, group: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array) for name, array in self.arrays(group).items()}

    @functools.cache  # noqa: B019  # one model for all tests of a case
    def load(self) -> Any:
        auto, name = CLASSES[self.name.split("_")[0]]
        model = getattr(automodels, auto).from_pretrained(
            self.directory, framework="torch", backend=self.backend, strict=True
        )
        assert type(model) is getattr(torch_heads, name)
        assert model.backend_report.chosen.table.name == self.backend
        return model


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture(params=["eager", "sdpa"])
def case(name, request):
    return Case(name, request.param)


def test_every_output_equals_the_reference_implementation(case):
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("out")

    with torch.no_grad():
        output = model(**inputs, **WANTED, use_cache=False) if case.name in DECODERS else model(**inputs, **WANTED)

    assert set(output.keys()) - {"past_key_values"} == set(expected) - {"loss"}
    assert_equal_outputs(model, output, expected, inputs["attention_mask"].numpy())


def test_without_attentions_asked_for_the_backend_computes_the_same(case):
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("out")

    with torch.no_grad():
        output = model(**inputs)

    assert "attentions" not in output
    assert_equal_outputs(model, output, expected, inputs["attention_mask"].numpy())


def test_ids_alone_mean_no_padding_first_segment_counted_positions_and_no_encoder(case):
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("plain")

    with torch.no_grad():
        output = model(inputs["input_ids"])

    assert set(output.keys()) - {"past_key_values"} == set(expected)
    assert_equal_outputs(model, output, expected, np.ones(inputs["attention_mask"].shape, int))


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("choice")])
def test_a_mask_for_each_query_that_says_the_same_as_one_of_padding_gives_the_same(name, backend):
    case = Case(name, backend)
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("out")
    mask = inputs["attention_mask"]
    each = mask[:, None].expand(-1, mask.shape[1], -1)
    inputs["attention_mask"] = each.tril() if model.config.is_decoder else each

    with torch.no_grad():
        output = model(**inputs)

    assert_equal_outputs(model, output, expected, mask.numpy())


def test_the_loss_and_its_gradient_for_every_parameter_equal_the_reference_implementation(case):
    model, inputs, labels = case.load(), case.tensors("in"), case.tensors("label")
    model.zero_grad()

    if isinstance(model, torch_heads.BertModel):
        output = model(**inputs)
        loss = sum((output[name] * weights).sum() for name, weights in labels.items())
    else:
        loss = model(**inputs, **labels).loss
    loss.backward()

    np.testing.assert_allclose(loss.item(), case.arrays("out")["loss"], rtol=1e-5)
    assert_equal_gradients(model, Checkpoint.open(case.directory / "gradients"))


def test_tuples_have_the_loss_first_and_then_what_the_output_has(case):
    model, inputs, labels = case.load(), case.tensors("in"), case.tensors("label")
    given = {} if isinstance(model, torch_heads.BertModel) else labels

    with torch.no_grad():
        output = model(**inputs, **given, **WANTED)
        fields = model(**inputs, **given, **WANTED, return_dict=False)

    assert isinstance(fields, tuple)
    assert len(fields) == len(output)
    for found, expected in zip(fields, output.to_tuple(), strict=True):
        if isinstance(found, torch.Tensor):
            assert torch.equal(found, expected)
    assert given == {} or fields[0].dim() == 0


def test_embeddings_in_place_of_ids_give_the_same(case):
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("out")
    table = next(part for name, part in model.named_modules() if name.endswith("word_embeddings"))
    inputs["inputs_embeds"] = table(inputs.pop("input_ids"))

    with torch.no_grad():
        output = model(**inputs)

    assert_equal_outputs(model, output, expected, inputs["attention_mask"].numpy())


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_cache_gives_the_logits_that_the_reference_decodes_token_by_token(name, backend):
    case = Case(name, backend)
    model, inputs, expected = case.load(), case.tensors("in"), case.arrays("step")["logits"]
    mask = inputs["attention_mask"]
    across = {name: array for name, array in inputs.items() if name.startswith("encoder_")}
    positions = (mask.cumsum(-1) - 1).clamp(min=0)

    found, cache = [], None
    with torch.no_grad():
        for start, stop in [(0, 3), *((at, at + 1) for at in range(3, mask.shape[1]))]:
            output = model(
                inputs["input_ids"][:, start:stop],
                attention_mask=mask[:, :stop],
                position_ids=positions[:, start:stop],
                past_key_values=cache,
                **across,
            )
            cache = output.past_key_values
            found.append(output.logits)

    assert cache.get_seq_length() == mask.shape[1]
    real = mask.bool().numpy()
    np.testing.assert_allclose(torch.cat(found, 1).numpy()[real], expected[real], atol=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_logits_of_the_last_tokens_or_of_some_places_alone_are_those_of_all(name):
    case = Case(name, "sdpa")
    model, ids = case.load(), case.tensors("in")["input_ids"]

    with torch.no_grad():
        everything = model(ids).logits
        last = model(ids, logits_to_keep=2).logits
        some = model(ids, logits_to_keep=torch.tensor([0, 3])).logits

    torch.testing.assert_close(last, everything[:, -2:])
    torch.testing.assert_close(some, everything[:, [0, 3]])


@pytest.mark.parametrize("name", ["masked_lm_odd", "pretraining_odd", "causal_lm_odd"])
def test_a_tied_decoder_is_the_word_embeddings_and_its_bias_the_heads(name):
    model = Case(name, "sdpa").load()
    names = dict(model.named_parameters())

    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.bias is model.cls.predictions.bias
    assert model.get_output_embeddings() is model.cls.predictions.decoder
    assert "cls.predictions.bias" in names
    assert not [found for found in names if "decoder" in found]


def test_an_untied_decoder_computes_with_the_bias_that_the_reference_computes_with():
    case = Case("masked_lm_untied", "sdpa")
    tensors = Checkpoint.open(case.directory)
    bias = tensors["cls.predictions.decoder.bias"].numpy()

    decoder = case.load().cls.predictions.decoder

    assert not np.array_equal(tensors["cls.predictions.bias"].numpy(), bias)
    np.testing.assert_array_equal(decoder.bias.detach(), bias)
    np.testing.assert_array_equal(decoder.weight.detach(), tensors["cls.predictions.decoder.weight"].numpy())


def test_saved_and_loaded_again_every_parameter_is_the_same(name, tmp_path):
    model = Case(name, "sdpa").load()

    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, strict=True)

    assert again.config.architectures == [type(model).__name__]
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def assert_equal_outputs(model: Any, output: Any, expected: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Equal to 1e-5; what a decoder computes at padding, where no token is seen, counts for nothing."""
    counts = mask if model.config.is_decoder else np.ones_like(mask)
    for name, value in output.items():
        if name == "past_key_values":
            continue
        found = np.stack([one.numpy() for one in value]) if isinstance(value, tuple) else value.numpy()
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


def assert_equal_gradients(model: Any, expected: Checkpoint) -> None:
    """Equal to 1e-4, relative; floors are 1e-5 of a tensor's largest number and 1e-6 of all: float32 cancels."""
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert found.keys() == expected.keys()
    largest = max(float(np.abs(expected[name].numpy()).max()) for name in found)
    for name, gradient in found.items():
        other = expected[name].numpy()
        floor = max(1e-5 * float(np.abs(other).max()), 1e-6 * largest)
        np.testing.assert_allclose(gradient.numpy(), other, rtol=1e-4, atol=floor, err_msg=name)
