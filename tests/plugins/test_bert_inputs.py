"""What BERT's calls take, what they refuse, and what wrong values do where they cannot be seen: inside jit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from automodels.errors import InputError, UnknownArgumentError, UnsupportedConfigError
from flax_bert import BertConfig, FlaxBertForMultipleChoice, FlaxBertForQuestionAnswering, FlaxBertModel

TINY = dict(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=16,
)  # fmt: skip
IDS = np.array([[1, 5, 7, 2, 0], [1, 9, 2, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
TYPES = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
POSITIONS = np.array([[4, 3, 2, 1, 0], [0, 1, 2, 3, 4]])


@pytest.fixture(scope="module")
def model():
    return FlaxBertModel(BertConfig(**TINY), seed=1)


@pytest.fixture(scope="module")
def choosing():
    return FlaxBertForMultipleChoice(BertConfig(**TINY))


def test_arguments_come_by_position_in_the_order_of_transformers(model):
    heads, params, key = np.array([1.0, 0.0, 1.0]), FlaxBertModel(BertConfig(**TINY), seed=2).params, jax.random.key(0)

    found = model(IDS, MASK, TYPES, POSITIONS, heads, None, None, params, key, True, True, True, False, None)

    expected = model(
        IDS, attention_mask=MASK, token_type_ids=TYPES, position_ids=POSITIONS, head_mask=heads, params=params,
        dropout_rng=key, train=True, output_attentions=True, output_hidden_states=True, return_dict=False,
    )  # fmt: skip
    assert len(found) == 4
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert not np.array_equal(found[0], model(IDS, MASK, TYPES, POSITIONS, heads).last_hidden_state)


def test_lists_numpy_arrays_and_jax_arrays_of_any_whole_type_are_the_same(model):
    expected = model(IDS, MASK).last_hidden_state

    forms = [
        (IDS.tolist(), MASK.tolist()),
        (IDS.astype(np.uint8), MASK.astype(bool)),
        (jnp.asarray(IDS), jnp.asarray(MASK, bool)),
        (jnp.asarray(IDS, jnp.uint16), MASK.astype(np.int8)),
    ]

    for ids, mask in forms:
        np.testing.assert_array_equal(model(ids, mask).last_hidden_state, expected)


def test_defaults_are_no_padding_the_first_segment_and_counted_positions(model):
    spelled = model(IDS, np.ones_like(IDS), np.zeros_like(IDS), np.tile(np.arange(5), (2, 1)), np.ones((2, 3)))

    np.testing.assert_allclose(model(IDS).last_hidden_state, spelled.last_hidden_state, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": None}, r"input_ids is missing; it needs \[batch, tokens\]"),
        ({"input_ids": [[1, 2], [3]]}, "input_ids is no array"),
        ({"input_ids": [[1, 2**32 + 5]]}, "input_ids has the value 4294967301; the model's table has rows 0 to 30"),
        ({"input_ids": [[True, False]]}, "input_ids holds bool"),
        ({"input_ids": [[[1, 2]]]}, r"input_ids has shape \[1, 1, 2\]"),
        ({"input_ids": jnp.ones((1, 2))}, "input_ids holds float32"),
        ({"attention_mask": [1, 1, 0, 0, 0]}, r"attention_mask has shape \[5\]; it needs \[batch, tokens\]"),
        ({"attention_mask": MASK[:, None]}, r"attention_mask has shape \[2, 1, 5\]"),
        ({"attention_mask": MASK[:1]}, r"attention_mask has shape \[1, 5\], input_ids \[2, 5\]"),
        ({"attention_mask": MASK / 2}, "attention_mask holds float64"),
        ({"token_type_ids": TYPES * 2}, "token_type_ids has the value 2; the model's table has rows 0 to 1"),
        ({"token_type_ids": TYPES[0]}, r"token_type_ids has shape \[5\]"),
        ({"position_ids": POSITIONS - 1}, "position_ids has the value -1; the model's table has rows 0 to 15"),
        ({"position_ids": POSITIONS * 1.0}, "position_ids holds float64"),
        ({"head_mask": [1, 1]}, r"head_mask has shape \[2\]; it needs \[3\] or \[2, 3\]"),
        ({"head_mask": np.ones((3, 2))}, r"head_mask has shape \[3, 2\]"),
        ({"head_mask": np.ones((2, 2, 3, 1, 1))}, r"head_mask has shape \[2, 2, 3, 1, 1\]"),
        ({"head_mask": ["a", "b", "c"]}, "head_mask holds str"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_names_and_numbers(model, arguments, message):
    with pytest.raises(InputError, match=message):
        model(**{"input_ids": IDS, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_ids": IDS}, r"input_ids has shape \[2, 5\]; it needs \[batch, choices, tokens\]"),
        ({"attention_mask": MASK}, r"attention_mask has shape \[2, 5\]; it needs \[batch, choices, tokens\]"),
        ({"token_type_ids": TYPES[None, :1]}, r"token_type_ids has shape \[1, 1, 5\], input_ids \[1, 2, 5\]"),
        ({"input_ids": np.zeros((1, 2, 17), int)}, "input_ids has 17 tokens"),
    ],
)
def test_multiple_choice_needs_choices(choosing, arguments, message):
    with pytest.raises(InputError, match=message):
        choosing(**{"input_ids": IDS[None], **arguments})


def test_an_argument_that_does_not_exist_is_an_error_that_names_the_nearest(model):
    with pytest.raises(UnknownArgumentError, match="FlaxBertModel has no argument 'atention_mask'; did you mean 'att"):
        model(IDS, atention_mask=MASK)
    with pytest.raises(UnknownArgumentError, match="'input_embeds'"):
        model(IDS, input_embeds=np.ones((2, 5, 12)))
    with pytest.raises(UnknownArgumentError, match="'unknown'"):
        model(IDS, unknown=1)


def test_labels_are_refused_because_no_model_computes_a_loss(model):
    with pytest.raises(UnknownArgumentError, match="return logits and compute no loss"):
        model(IDS, labels=IDS)


def test_shapes_are_checked_inside_jit_too(model):
    jitted = jax.jit(lambda ids, mask: model(ids, mask).last_hidden_state)

    with pytest.raises(InputError, match=r"attention_mask has shape \[2, 3\], input_ids \[2, 5\]"):
        jitted(IDS, MASK[:, :3])
    with pytest.raises(InputError, match="input_ids holds float32"):
        jitted(IDS.astype(np.float32), MASK)


@pytest.mark.parametrize("wrong", ["beyond", "below"])
@pytest.mark.parametrize(("name", "rows"), [("input_ids", 31), ("token_type_ids", 2), ("position_ids", 16)])
def test_inside_jit_an_id_outside_its_table_makes_the_text_nan_and_no_other(model, name, rows, wrong):
    jitted = jax.jit(lambda inputs: model(**inputs).last_hidden_state)
    inputs = {"input_ids": IDS, "token_type_ids": TYPES, "position_ids": POSITIONS}
    expected = jitted(inputs)
    changed = inputs[name].copy()
    changed[1, 2] = rows if wrong == "beyond" else -1

    found = np.asarray(jitted({**inputs, name: changed}))

    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[0], expected[0])
    assert np.isfinite(expected).all()


def test_a_question_answering_model_needs_two_labels():
    with pytest.raises(UnsupportedConfigError, match="num_labels is 2, not 5"):
        FlaxBertForQuestionAnswering(BertConfig(**TINY, num_labels=5))
