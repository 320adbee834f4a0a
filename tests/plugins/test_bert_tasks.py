"""BERT's tasks: checkpoints of every spelling, heads that are fresh, switches of the config, dropout and memory."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import automodels
import flax_bert
from automodels.errors import CheckpointMismatchError
from flax_bert import (
    BertConfig,
    FlaxBertForCausalLM,
    FlaxBertForMaskedLM,
    FlaxBertForPreTraining,
    FlaxBertForSequenceClassification,
    FlaxBertForTokenClassification,
    FlaxBertModel,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "bert"
TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 11], [1, 9, 2, 30, 4]])
TASKS = {
    "PreTraining": {"tie_word_embeddings": False},
    "MaskedLM": {},
    "CausalLM": {"is_decoder": True, "add_cross_attention": True},
    "NextSentencePrediction": {},
    "SequenceClassification": {"num_labels": 4},
    "MultipleChoice": {},
    "TokenClassification": {"num_labels": 3},
    "QuestionAnswering": {},
}


def wide(model, seed=0):
    """Parameters so large that a mistake shows; fresh ones are near zero."""
    leaves, tree = jax.tree.flatten(model.params)
    random = np.random.default_rng(seed)
    model.params = jax.tree.unflatten(tree, [random.normal(0, 0.4, leaf.shape).astype(np.float32) for leaf in leaves])
    return model


def made(task):
    return wide(getattr(flax_bert, f"FlaxBertFor{task}")(BertConfig(**{**TINY, **TASKS[task]})))


def renamed(directory, rename):
    """Every tensor of a checkpoint under another name, in place."""
    path = directory / "model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path)
    return sorted(tensors)


def assert_same(model, other):
    jax.tree.map(np.testing.assert_array_equal, model.params, other.params)


@pytest.mark.parametrize("options", [{}, {"naming": "flax"}, {"safe_serialization": False}], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_saved_and_found_again_by_its_auto_class(task, options, tmp_path):
    model = made(task)
    model.save_pretrained(tmp_path, **options)

    again = getattr(automodels, f"AutoModelFor{task}").from_pretrained(tmp_path, strict=True)

    assert type(again) is type(model)
    assert_same(model, again)


def test_a_decoders_tensors_have_the_names_of_the_hub(tmp_path):
    made("CausalLM").save_pretrained(tmp_path)

    names = set(load_file(tmp_path / "model.safetensors"))

    assert "bert.encoder.layer.1.crossattention.self.query.weight" in names
    assert "bert.encoder.layer.0.crossattention.output.LayerNorm.bias" in names
    assert "cls.predictions.transform.LayerNorm.weight" in names
    assert "cls.predictions.bias" in names
    assert "cls.predictions.decoder.weight" not in names


@pytest.mark.parametrize("task", ["MaskedLM", "SequenceClassification", "QuestionAnswering", "CausalLM"])
def test_old_spellings_of_a_head_and_a_backbone_without_its_prefix_are_read(task, tmp_path):
    model = made(task)
    model.save_pretrained(tmp_path)
    old = renamed(
        tmp_path,
        lambda name: (
            name.removeprefix("bert.")
            .replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
        ),
    )

    again = type(model).from_pretrained(tmp_path, strict=True)

    assert "embeddings.LayerNorm.gamma" in old
    assert_same(model, again)


def test_two_published_spellings_of_a_masked_language_model_give_the_same_logits():
    new, old = (
        automodels.AutoModelForMaskedLM.from_pretrained(GOLDEN / name) for name in ("masked_lm_sharded", "old_spelling")
    )

    assert new.load_report.missing == old.load_report.missing == ()
    np.testing.assert_array_equal(new(IDS).logits, old(IDS).logits)


def test_tied_tensors_that_a_checkpoint_stores_again_are_reported_as_tied(tmp_path):
    model = made("MaskedLM")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].copy()
    save_file(tensors, tmp_path / "model.safetensors")

    again = FlaxBertForMaskedLM.from_pretrained(tmp_path, strict=True)

    assert sorted(again.load_report.tied) == ["cls.predictions.decoder.bias", "cls.predictions.decoder.weight"]
    assert_same(model, again)


def test_a_tied_tensor_stands_in_for_the_one_that_is_not_stored(tmp_path):
    model = made("MaskedLM")
    model.save_pretrained(tmp_path)
    renamed(
        tmp_path,
        lambda name: {
            "bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight",
            "cls.predictions.bias": "cls.predictions.decoder.bias",
        }.get(name, name),
    )

    again = FlaxBertForMaskedLM.from_pretrained(tmp_path, strict=True)

    assert_same(model, again)


def test_an_untied_decoder_has_its_own_matrix_and_computes_with_the_decoders_bias(tmp_path):
    model = made("PreTraining")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert tensors["cls.predictions.decoder.weight"].shape == (31, 12)
    tensors["cls.predictions.bias"] = tensors["cls.predictions.decoder.bias"] + 1  # kept by PyTorch, and not used
    save_file(tensors, tmp_path / "model.safetensors")

    again = FlaxBertForPreTraining.from_pretrained(tmp_path, strict=True)

    assert again.load_report.tied == ("cls.predictions.bias",)
    assert_same(model, again)


def test_an_old_untied_checkpoint_with_one_bias_loads(tmp_path):
    model = made("PreTraining")
    model.save_pretrained(tmp_path)
    renamed(tmp_path, lambda name: name.replace("predictions.decoder.bias", "predictions.bias"))

    assert_same(model, FlaxBertForPreTraining.from_pretrained(tmp_path, strict=True))


def test_a_head_that_the_checkpoint_lacks_is_fresh_and_said_to_need_training(caplog):
    model = FlaxBertForSequenceClassification.from_pretrained(GOLDEN / "masked_lm_sharded")

    assert set(model.load_report.missing) == {
        "bert.pooler.dense.kernel", "bert.pooler.dense.bias", "classifier.kernel", "classifier.bias",
    }  # fmt: skip
    assert "classifier.kernel" in caplog.text


def test_cross_attention_that_an_encoders_checkpoint_lacks_is_fresh(tmp_path):
    encoder = wide(FlaxBertModel(BertConfig(**TINY)))
    encoder.save_pretrained(tmp_path)

    decoder = FlaxBertForCausalLM.from_pretrained(tmp_path, is_decoder=True, add_cross_attention=True)

    fresh = {name for name in decoder.load_report.missing if not name.startswith("cls.")}
    assert len(fresh) == 20
    assert all(".crossattention." in name for name in fresh)
    np.testing.assert_array_equal(
        decoder.params["bert"]["encoder"]["layer"]["1"]["attention"]["self"]["key"]["kernel"],
        encoder.params["encoder"]["layer"]["1"]["attention"]["self"]["key"]["kernel"],
    )


def test_any_other_part_of_the_backbone_may_not_be_missing(tmp_path):
    made("CausalLM").save_pretrained(tmp_path)
    renamed(tmp_path, lambda name: name.replace("layer.1.attention.self.key", "layer.1.attention.self.kez"))

    with pytest.raises(CheckpointMismatchError, match="missing: bert.encoder.layer.1.attention.self.key"):
        FlaxBertForCausalLM.from_pretrained(tmp_path)


def test_one_checkpoint_serves_every_task(tmp_path):
    made("PreTraining").save_pretrained(tmp_path)

    for task in TASKS:
        model = getattr(automodels, f"AutoModelFor{task}").from_pretrained(tmp_path)
        assert {name.split(".")[0] for name in model.load_report.missing} <= {"classifier", "qa_outputs"}, task


@pytest.mark.parametrize("chunk", [0, 1, 2, 7])
def test_the_chunk_size_of_feed_forward_layers_leaves_the_result_as_it_is(chunk):
    plain = FlaxBertModel(BertConfig(**TINY))
    chunked = FlaxBertModel(BertConfig(**TINY, chunk_size_feed_forward=chunk))

    np.testing.assert_array_equal(chunked(IDS).last_hidden_state, plain(IDS).last_hidden_state)


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification"])
def test_the_problem_type_is_kept_and_leaves_the_logits_as_they_are(problem, tmp_path):
    model = FlaxBertForSequenceClassification(BertConfig(**TINY, problem_type=problem))
    plain = FlaxBertForSequenceClassification(BertConfig(**TINY))

    model.save_pretrained(tmp_path)

    assert json.loads((tmp_path / "config.json").read_text())["problem_type"] == problem
    np.testing.assert_array_equal(model(IDS).logits, plain(IDS).logits)


@pytest.mark.parametrize("kind", [FlaxBertForSequenceClassification, FlaxBertForTokenClassification])
def test_the_classifiers_dropout_is_its_own_or_that_of_the_hidden_states(kind):
    still = dict(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    key = jax.random.key(0)

    def difference(**fields):
        model = wide(kind(BertConfig(**TINY, **fields)))
        return float(jnp.abs(model(IDS, train=True, dropout_rng=key).logits - model(IDS).logits).max())

    assert difference(**still) == 0
    assert difference(**still, classifier_dropout=0.5) > 0.1
    assert difference(**still | {"hidden_dropout_prob": 0.5}, classifier_dropout=0.0) > 0.1
    assert BertConfig(hidden_dropout_prob=0.3).head_dropout == 0.3
    assert BertConfig(hidden_dropout_prob=0.3, classifier_dropout=0.0).head_dropout == 0


def test_every_layer_every_text_and_every_token_has_its_own_dropout():
    """With a huge bias behind dropout, signs of the normalised sums say what was kept."""
    config = BertConfig(**{**TINY, "num_hidden_layers": 3, "hidden_dropout_prob": 0.5})
    model = FlaxBertModel(config)
    layers = model.params["encoder"]["layer"]
    for layer in layers.values():
        layer["output"]["dense"]["bias"] = jnp.full(12, 1e4)

    output = model(IDS, train=True, dropout_rng=jax.random.key(3), output_hidden_states=True)

    kept = [np.asarray(states) > 0 for states in output.hidden_states[1:]]
    rows = np.concatenate([mask.reshape(-1, 12) for mask in kept])
    assert len({row.tobytes() for row in rows}) == len(rows) == 30
    assert 0.35 < rows.mean() < 0.65


def test_attention_dropout_alone_follows_the_key():
    config = BertConfig(**TINY, attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0)
    model = wide(FlaxBertModel(config))

    first, again, other = (
        model(IDS, train=True, dropout_rng=jax.random.key(seed)).last_hidden_state for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first - model(IDS).last_hidden_state).max() > 0.01


@pytest.mark.parametrize("train", [False, True])
def test_gradient_checkpointing_changes_neither_result_nor_gradient(train):
    config = BertConfig(**TINY, is_decoder=True, add_cross_attention=True)
    model = wide(FlaxBertForCausalLM(config))
    states = np.random.default_rng(0).normal(size=(2, 4, 12)).astype(np.float32)
    options = dict(encoder_hidden_states=states, head_mask=[1.0, 0.5, 1.0])
    options |= dict(train=True, dropout_rng=jax.random.key(0)) if train else {}

    def loss(params):
        return (model(IDS, params=params, **options).logits ** 2).mean()

    def recomputed():
        return str(jax.make_jaxpr(jax.grad(loss))(model.params)).count("remat")

    plain, plain_gradient, without = *jax.value_and_grad(loss)(model.params), recomputed()
    model.enable_gradient_checkpointing()
    found, gradient, within = *jax.value_and_grad(loss)(model.params), recomputed()

    assert (without, within > 0) == (0, True)
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain_gradient))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * largest), gradient, plain_gradient
    )


@pytest.mark.parametrize("task", TASKS)
def test_flags_of_the_config_are_the_defaults_of_every_task(task):
    config = BertConfig(**{**TINY, **TASKS[task]}, output_attentions=True, output_hidden_states=True, return_dict=False)
    model = getattr(flax_bert, f"FlaxBertFor{task}")(config)
    ids = IDS[None] if task == "MultipleChoice" else IDS

    *_, hidden_states, attentions = model(ids)

    assert [state.shape for state in hidden_states] == [(2, 5, 12)] * 3
    assert [weights.shape for weights in attentions] == [(2, 3, 5, 5)] * 2
    assert list(model(ids, return_dict=True, output_attentions=False))[-1] == "hidden_states"


def test_every_class_is_in_the_package_and_in_the_manifest():
    classes = {name for name in flax_bert.__all__ if name.startswith("FlaxBertFor") and not name.endswith("Output")}

    assert classes == {f"FlaxBertFor{task}" for task in [*TASKS, "SentenceEmbedding"]}
    for task in [*TASKS, "SentenceEmbedding"]:
        made_by_auto = getattr(automodels, f"AutoModelFor{task}").from_config(BertConfig(**TINY))
        assert type(made_by_auto).__name__ == f"FlaxBertFor{task}"
