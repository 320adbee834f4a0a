"""BERT against its formula in numpy: every task and activation, decoders, cross attention, head masks."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flax_bert
from flax_bert import BertConfig, FlaxBertForCausalLM, FlaxBertForMaskedLM, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16, type_vocab_size=3, num_labels=2,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 30, 4]])
INPUTS = dict(
    attention_mask=np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
    token_type_ids=np.array([[0, 0, 1, 1, 0], [0, 2, 2, 1, 1]]),
    position_ids=np.array([[0, 1, 2, 3, 0], [3, 4, 5, 15, 7]]),
)
TASKS = [
    "ForPreTraining", "ForMaskedLM", "ForCausalLM", "ForNextSentencePrediction", "ForSequenceClassification",
    "ForTokenClassification", "ForQuestionAnswering",
]  # fmt: skip


def wide(model, seed=0):
    """Parameters so large that a mistake shows; fresh ones are near zero."""
    leaves, tree = jax.tree.flatten(model.params)
    random = np.random.default_rng(seed)
    model.params = jax.tree.unflatten(tree, [random.normal(0, 0.4, leaf.shape).astype(np.float32) for leaf in leaves])
    return model


def double(tree):
    return {name: double(leaf) if isinstance(leaf, dict) else np.float64(leaf) for name, leaf in tree.items()}


ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x: x * (x > 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}
ACTIVATIONS |= {"gelu_pytorch_tanh": ACTIVATIONS["gelu_new"], "swish": ACTIVATIONS["silu"]}


def linear(p, x):
    return x @ p["kernel"] + p["bias"]


def norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * p["scale"] + p["bias"]


def attention(p, x, source, mask, head_mask):
    """(x after attention, weights)."""
    size = x.shape[-1] // 3
    q, k, v = linear(p["self"]["query"], x), linear(p["self"]["key"], source), linear(p["self"]["value"], source)
    attended, weights = np.zeros_like(x), np.zeros((len(x), 3, x.shape[1], source.shape[1]))
    for b in range(len(x)):
        for n in range(3):
            part = slice(n * size, (n + 1) * size)
            for t in range(x.shape[1]):
                seen = [s for s in range(source.shape[1]) if mask(b, t, s)]
                scores = np.array([q[b, t, part] @ k[b, s, part] / math.sqrt(size) for s in seen])
                shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum() * head_mask[n]
                weights[b, n, t, seen] = shares
                attended[b, t, part] = shares @ v[b, seen, part]
    return norm(p["output"]["LayerNorm"], linear(p["output"]["dense"], attended) + x), weights


def backbone(
    p, config, ids, attention_mask, token_type_ids, position_ids, head_mask=None, encoder=None, encoder_mask=None
):
    """(hidden states, attentions, cross attentions)."""
    tables = p["embeddings"]
    x = tables["word_embeddings"]["embedding"][ids] + tables["position_embeddings"]["embedding"][position_ids]
    x = norm(tables["LayerNorm"], x + tables["token_type_embeddings"]["embedding"][token_type_ids])
    states, attentions, crossed = [x], [], []
    head_mask = np.ones((2, 3)) if head_mask is None else np.broadcast_to(head_mask, (2, 3))
    for number in range(2):
        layer = p["encoder"]["layer"][str(number)]
        x, weights = attention(
            layer["attention"], x, x,
            lambda b, t, s: attention_mask[b, s] and (s <= t or not config.is_decoder), head_mask[number],
        )  # fmt: skip
        attentions.append(weights)
        if encoder is not None:
            cross = lambda b, t, s: encoder_mask[b, s]  # noqa: E731
            x, weights = attention(layer["crossattention"], x, encoder, cross, head_mask[number])
            crossed.append(weights)
        inner = ACTIVATIONS[config.hidden_act](linear(layer["intermediate"]["dense"], x))
        x = norm(layer["output"]["LayerNorm"], linear(layer["output"]["dense"], inner) + x)
        states.append(x)
    return np.stack(states), np.stack(attentions), np.stack(crossed) if crossed else None


def predictions(p, config, x, words):
    p = p["predictions"]
    x = ACTIVATIONS[config.hidden_act](linear(p["transform"]["dense"], x))
    kernel = p["decoder"]["kernel"] if "decoder" in p else words.T
    return norm(p["transform"]["LayerNorm"], x) @ kernel + p["bias"]


def expected_logits(task, p, config, x):
    """The fields of the task's output, in order."""
    words = p["bert"]["embeddings"]["word_embeddings"]["embedding"]
    pooled = np.tanh(linear(p["bert"]["pooler"]["dense"], x[:, 0])) if "pooler" in p["bert"] else None
    match task:
        case "ForPreTraining":
            return predictions(p["cls"], config, x, words), linear(p["cls"]["seq_relationship"], pooled)
        case "ForMaskedLM" | "ForCausalLM":
            return (predictions(p["cls"], config, x, words),)
        case "ForNextSentencePrediction":
            return (linear(p["cls"]["seq_relationship"], pooled),)
        case "ForSequenceClassification":
            return (linear(p["classifier"], pooled),)
        case "ForTokenClassification":
            return (linear(p["classifier"], x),)
        case "ForQuestionAnswering":
            return tuple(np.moveaxis(linear(p["qa_outputs"], x), -1, 0))
    raise AssertionError(task)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_computes_its_formula(task, tied):
    config = BertConfig(**TINY, tie_word_embeddings=tied)
    model = wide(getattr(flax_bert, f"FlaxBert{task}")(config))
    params = double(model.params)
    states, attentions, _ = backbone(params["bert"], config, IDS, **INPUTS)

    output = model(IDS, **INPUTS, output_hidden_states=True, output_attentions=True)

    *logits, hidden_states, weights = output.to_tuple()
    for found, expected in zip(logits, expected_logits(task, params, config, states[-1]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.stack(hidden_states), states, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.stack(weights), attentions, atol=1e-5)


def test_multiple_choice_scores_each_continuation_as_if_it_were_alone():
    config = BertConfig(**TINY)
    model = wide(flax_bert.FlaxBertForMultipleChoice(config))
    ids = np.random.default_rng(0).integers(0, 31, (2, 3, 5))
    params = double(model.params)
    plain = dict(
        attention_mask=np.ones((6, 5)), token_type_ids=np.zeros((6, 5), int), position_ids=np.tile(np.arange(5), (6, 1))
    )
    states, _, _ = backbone(params["bert"], config, ids.reshape(6, 5), **plain)
    pooled = np.tanh(linear(params["bert"]["pooler"]["dense"], states[-1][:, 0]))

    output = model(ids, output_hidden_states=True, output_attentions=True)

    np.testing.assert_allclose(output.logits, linear(params["classifier"], pooled).reshape(2, 3), rtol=1e-5, atol=1e-5)
    assert output.hidden_states[0].shape == (6, 5, 12)
    assert output.attentions[0].shape == (6, 3, 5, 5)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_is_its_formula(name):
    config = BertConfig(**TINY, hidden_act=name)
    model = wide(FlaxBertForMaskedLM(config))
    params = double(model.params)
    states, _, _ = backbone(params["bert"], config, IDS, **INPUTS)

    found = model(IDS, **INPUTS).logits

    np.testing.assert_allclose(
        found, expected_logits("ForMaskedLM", params, config, states[-1])[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("head_mask", [[1.0, 0.0, 0.25], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.5]]])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_head_mask_scales_the_weights_of_heads(head_mask, wanted):
    config = BertConfig(**TINY)
    model = wide(FlaxBertModel(config))
    states, attentions, _ = backbone(double(model.params), config, IDS, **INPUTS, head_mask=np.array(head_mask))

    output = model(IDS, **INPUTS, head_mask=head_mask, output_attentions=wanted)

    np.testing.assert_allclose(output.last_hidden_state, states[-1], rtol=1e-5, atol=1e-5)
    if wanted:
        np.testing.assert_allclose(np.stack(output.attentions), attentions, atol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float16, np.float64])
def test_a_head_mask_may_be_of_any_type_of_numbers(dtype):
    model = wide(FlaxBertModel(BertConfig(**TINY)))
    mask = np.array([1, 0, 1])

    found = model(IDS, head_mask=mask.astype(dtype)).last_hidden_state

    np.testing.assert_array_equal(found, model(IDS, head_mask=mask.astype(np.float32)).last_hidden_state)


@pytest.mark.parametrize("width", [None, 10])
def test_a_decoder_sees_earlier_tokens_and_an_encoders_states(width):
    config = BertConfig(**TINY, is_decoder=True, add_cross_attention=True, cross_attention_hidden_size=width)
    model = wide(FlaxBertForCausalLM(config))
    encoder = np.random.default_rng(1).normal(size=(2, 4, width or 12)).astype(np.float32)
    encoder_mask = np.array([[1, 1, 0, 1], [0, 1, 1, 1]])
    params = double(model.params)
    extra = dict(head_mask=np.array([[1.0, 0.5, 1.0], [0.0, 1.0, 1.0]]))
    states, attentions, crossed = backbone(
        params["bert"], config, IDS, **INPUTS, **extra, encoder=encoder, encoder_mask=encoder_mask
    )

    output = model(
        IDS, **INPUTS, **extra, encoder_hidden_states=encoder, encoder_attention_mask=encoder_mask,
        output_attentions=True, output_hidden_states=True,
    )  # fmt: skip

    logits = expected_logits("ForCausalLM", params, config, states[-1])[0]
    np.testing.assert_allclose(output.logits, logits, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(np.stack(output.hidden_states), states, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.stack(output.attentions), attentions, atol=1e-5)
    np.testing.assert_allclose(np.stack(output.cross_attentions), crossed, atol=1e-5)


def test_without_a_mask_for_the_encoder_all_of_its_states_are_seen():
    config = BertConfig(**TINY, is_decoder=True, add_cross_attention=True)
    model = wide(FlaxBertModel(config))
    states = np.random.default_rng(1).normal(size=(2, 4, 12)).astype(np.float32)

    without = model(IDS, encoder_hidden_states=states).last_hidden_state
    ones = model(IDS, encoder_hidden_states=states, encoder_attention_mask=np.ones((2, 4), int)).last_hidden_state

    np.testing.assert_allclose(without, ones, atol=1e-6)


def test_the_module_computes_the_same_for_people_who_use_nnx():
    model = wide(FlaxBertModel(BertConfig(**TINY)))

    output = model.module(jnp.asarray(IDS), head_mask=jnp.asarray([1.0, 0.0, 1.0]))

    np.testing.assert_allclose(
        output.last_hidden_state, model(IDS, head_mask=[1, 0, 1]).last_hidden_state, rtol=1e-5, atol=1e-5
    )
