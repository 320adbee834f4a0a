"""KeyMap: one table for both directions, old spellings read and new ones written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap

KEYMAP = KeyMap(
    ("wte.weight", "wte.embedding", SAME),
    ("h.{i}.attn.weight", "h.{i}.attn.kernel", TRANSPOSED),
    ("h.{i}.LayerNorm.weight", "h.{i}.LayerNorm.scale", SAME),
    ("experts.{i}.{i}.weight", "experts.{i}.part.{i}.kernel", TRANSPOSED),
    prefix="transformer.",
    older=(("LayerNorm.gamma", "LayerNorm.weight"), (".wte.weight", ".embed.weight")),
    buffers=("h.{i}.attn.bias", "position_ids"),
)


@pytest.mark.parametrize(
    ("tensor", "parameter", "layout"),
    [
        ("wte.weight", "wte.embedding", SAME),
        ("h.0.attn.weight", "h.0.attn.kernel", TRANSPOSED),
        ("h.1234.attn.weight", "h.1234.attn.kernel", TRANSPOSED),
        ("experts.3.10.weight", "experts.3.part.10.kernel", TRANSPOSED),
    ],
)
def test_a_tensor_and_its_parameter_lead_to_each_other(tensor, parameter, layout):
    assert KEYMAP.parameter(tensor) == (parameter, layout)
    assert KEYMAP.tensor(parameter) == (tensor, layout)


@pytest.mark.parametrize(
    "spelling",
    [
        "h.2.LayerNorm.weight",
        "h.2.LayerNorm.gamma",
        "transformer.h.2.LayerNorm.weight",
        "module.transformer.h.2.LayerNorm.gamma",
        "_orig_mod.h.2.LayerNorm.weight",
        "module._orig_mod.h.2.LayerNorm.weight",
        "_orig_mod.module.transformer.h.2.LayerNorm.weight",
        "module.module._orig_mod.module.h.2.LayerNorm.weight",
        "transformer._orig_mod.h.2.LayerNorm.weight",  # only the backbone was compiled
        "transformer.h.2._orig_mod.LayerNorm.gamma",  # only the block was
    ],
)
def test_every_accepted_spelling_means_the_same(spelling):
    assert KEYMAP.canonical(spelling) == "h.2.LayerNorm.weight"
    assert KEYMAP.parameter(spelling) == ("h.2.LayerNorm.scale", SAME)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "wte",
        "wte.weight.more",
        "h.attn.weight",
        "h.0.1.attn.weight",
        "h.{i}.attn.weight",
        "h.-1.attn.weight",
        "h.1_000.attn.weight",
        "h.١.attn.weight",
        "h.x.attn.weight",
        "transformer.transformer.wte.weight",
        "other.wte.weight",
        "h.0.module.attn.weight",
        "experts.0.weight",
    ],
)
def test_other_names_are_in_no_table(name):
    assert KEYMAP.parameter(name) is None
    assert not KEYMAP.is_buffer(name)


def test_parameters_that_are_not_in_the_table_have_no_tensor():
    assert KEYMAP.tensor("wte.weight") is None
    assert KEYMAP.tensor("h.{i}.attn.kernel") is None


@pytest.mark.parametrize("name", ["position_ids", "h.7.attn.bias", "module.transformer.h.7.attn.bias"])
def test_buffers_are_known_in_every_spelling_and_fill_nothing(name):
    assert KEYMAP.is_buffer(name)
    assert KEYMAP.parameter(name) is None


@given(numbers=st.lists(st.integers(0, 10**6), min_size=2, max_size=2), row=st.integers(0, 3))
def test_the_table_is_a_bijection(numbers, row):
    pattern = ("wte.weight", "h.{i}.attn.weight", "h.{i}.LayerNorm.weight", "experts.{i}.{i}.weight")[row]
    name = re.sub(r"\{i\}", lambda _: str(numbers.pop()), pattern)

    parameter, layout = KEYMAP.parameter(name)

    assert KEYMAP.tensor(parameter) == (name, layout)


def test_a_second_spelling_leads_to_the_parameter_of_the_first_in_every_form_of_its_name():
    keymap = KeyMap(
        ("h.{i}.out.weight", "h.{i}.out.kernel", TRANSPOSED),
        prefix="transformer.",
        alternates=(("lm.{i}.weight", "h.{i}.out.weight"),),
    )

    assert keymap.alternate("lm.12.weight") == ("h.12.out.kernel", TRANSPOSED)
    assert keymap.alternate("module.transformer.lm.12.weight") == ("h.12.out.kernel", TRANSPOSED)
    assert keymap.alternate("h.12.out.weight") is None
    assert keymap.alternate("lm.weight") is None
    assert keymap.parameter("lm.12.weight") is None


@given(st.text(st.sampled_from("h.0{i}_bw") | st.characters(), max_size=30))
def test_any_text_is_looked_up_without_harm(name):
    found = KEYMAP.parameter(name)

    assert found is None or KEYMAP.tensor(found[0]) == (KEYMAP.canonical(name), found[1])


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([("a", "x"), ("a", "y")], {}, "names a tensor or a parameter twice"),
        ([("a", "x"), ("b", "x")], {}, "names a tensor or a parameter twice"),
        ([("h.{i}.a", "x")], {}, "different numbers of {i}"),
        ([("h.{i}.a", "h.{i}.{i}.x")], {}, "different numbers of {i}"),
        ([("mlp.0.weight", "mlp.first.kernel")], {}, "mlp.0.weight: numbers are written {i}"),
        ([("mlp.first.weight", "mlp.0.kernel")], {}, "mlp.0.kernel: numbers are written {i}"),
        ([("layer_{i}.a", "layer_{i}.x")], {}, "layer_{i}.a: numbers are written {i}, between dots"),
        ([("bert.a", "x")], {"prefix": "bert."}, "bert.a is not a name as it is written today; that is a"),
        ([("n.gamma", "x")], {"older": [("gamma", "weight")]}, "n.gamma is not a name as it is written today"),
        ([("a", "x")], {"alternates": [("b", "c")]}, "b is an alternate of c, which is no tensor of a row"),
        ([("a", "x")], {"alternates": [("b", "a"), ("c", "b")]}, "c is an alternate of b, which is no tensor"),
        ([("h.{i}.a", "h.{i}.x")], {"alternates": [("b", "h.{i}.a")]}, "different numbers of {i}"),
        ([("module.a", "x")], {}, "module.a is not a name as it is written today; that is a"),
    ],
)
def test_a_table_that_could_not_work_is_refused(rows, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        KeyMap(*[(tensor, parameter, SAME) for tensor, parameter in rows], **options)
