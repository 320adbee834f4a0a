"""Attend: what a function is told, what it is spared, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from automodels.errors import InputError
from torch_runtime.attend import Attend
from torch_runtime.attention import AttentionFunction, eager_attention
from torch_runtime.sdpa import sdpa_attention

X = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
PADDING = (torch.arange(9) > 2)[None, None, None].repeat(2, 1, 1, 1)
EACH = torch.ones(9, 9, dtype=torch.bool).tril(1)[None, None]
BIAS = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(1))
ALL = frozenset({"mask", "bias", "causal", "window", "dropout"})


class Kernel:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, q, k, v, **given):
        self.told.append({name: getattr(value, "shape", value) for name, value in given.items()})
        return eager_attention(q, k, v, **given)


def attend(*supports, **options):
    return Attend(Kernel(), "kernel", frozenset(supports), **options)


WHOLE = torch.Size([2, 1, 9, 9])
CASES = {
    "nothing": ({}, {}),
    "padding": ({"mask": PADDING}, {"mask": PADDING.shape}),
    "causal": ({"is_causal": True}, {"is_causal": True}),
    "window": ({"is_causal": True, "window": 4}, {"is_causal": True, "window": 4}),
    "causal-padding": ({"is_causal": True, "mask": PADDING}, {"mask": WHOLE}),
    "window-padding": ({"is_causal": True, "window": 4, "mask": PADDING}, {"mask": WHOLE}),
    "causal-bias": ({"is_causal": True, "bias": BIAS}, {"mask": torch.Size([1, 1, 9, 9]), "bias": BIAS.shape}),
    "scale": ({"scale": 0.5}, {"scale": 0.5}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "supports", [ALL, {"mask", "bias", "causal"}, {"mask", "bias"}, {"bias"}], ids=lambda found: "-".join(sorted(found))
)
def test_a_function_is_told_what_it_knows_in_its_own_words_and_the_rest_as_a_mask(case, supports):
    given, told = CASES[case]
    found = attend(*supports, is_named=True)

    result = found(X, X, X, **given)

    torch.testing.assert_close(result, eager_attention(X, X, X, **given), atol=1e-6, rtol=1e-6)
    assert len(found.function.told) == 1
    known = {"is_causal": "causal"}
    assert {known.get(name, name) for name in found.function.told[0]} - {"scale"} <= supports
    if supports == ALL:
        assert found.function.told == [told]


def test_one_that_knows_padding_alone_is_told_of_padding_alone():
    found, named = attend("padding"), attend("padding", is_named=True)

    found(X, X, X, mask=PADDING)
    other = found(X, X, X, mask=EACH)

    assert found.function.told == [{"mask": PADDING.shape}]
    torch.testing.assert_close(other, eager_attention(X, X, X, mask=EACH))
    with pytest.raises(InputError, match="kernel cannot do this call: it has no masks but of padding"):
        named(X, X, X, mask=EACH)


@pytest.mark.parametrize(
    ("given", "lack"),
    [({"mask": PADDING}, "masks"), ({"bias": BIAS}, "bias"), ({"dropout": 0.5}, "dropout"),
     ({"is_causal": True, "mask": PADDING, "bias": BIAS, "dropout": 0.5}, "masks and no bias and no dropout")],
)  # fmt: skip
def test_what_it_cannot_do_is_computed_by_the_formula_and_refused_where_it_was_asked_for_by_name(given, lack):
    found, named = attend("causal"), attend("causal", is_named=True)

    torch.manual_seed(3)
    result = found(X, X, X, **given)

    torch.manual_seed(3)
    torch.testing.assert_close(result, eager_attention(X, X, X, **given))
    assert found.function.told == []
    with pytest.raises(InputError, match=f"The backend kernel cannot do this call: it has no {lack}.") as caught:
        named(X, X, X, **given)
    assert "auto" in str(caught.value.hints)


def test_few_queries_are_left_to_the_formula_always():
    found = attend(*ALL, min_queries=4, is_named=True)

    few, more = (found(X[:, :, :count], X, X, mask=PADDING) for count in (3, 4))

    assert len(found.function.told) == 1
    torch.testing.assert_close(few, eager_attention(X[:, :, :3], X, X, mask=PADDING))
    torch.testing.assert_close(more[:, :, :3], few)


def test_a_function_that_refuses_leaves_the_call_to_the_formula():
    def picky(q, k, v, **given):
        raise NotImplementedError("heads of 8 numbers")

    found = Attend(picky, "picky", ALL)(X, X, X)

    torch.testing.assert_close(found, eager_attention(X, X, X))
    with pytest.raises(InputError, match="picky cannot do this call: it has no heads of 8 numbers"):
        Attend(picky, "picky", ALL, is_named=True)(X, X, X)


def test_it_is_pickled_by_reference_and_equal_to_its_copies():
    found = Attend(sdpa_attention, "sdpa", frozenset({"mask", "causal"}))

    same = pickle.loads(pickle.dumps(found))

    assert same == found == copy.deepcopy(found)
    assert same.function is sdpa_attention
    assert isinstance(found, AttentionFunction)


@pytest.mark.parametrize("supports", [ALL, {"mask"}, {"bias"}, set()], ids=lambda found: "-".join(sorted(found)))
def test_the_compiler_makes_one_graph_of_it(supports):
    found = Attend(eager_attention, "plain", frozenset(supports), min_queries=2)
    graphs = []

    def counting(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    @torch.compile(fullgraph=True, backend=counting)
    def call(q, k, v, mask):
        return found(q, k, v, mask=mask) + found(q, k, v, is_causal=True, window=3) + found(q[:, :, :1], k, v)

    result = call(X, X, X, PADDING)

    assert len(graphs) == 1
    expected = (
        eager_attention(X, X, X, mask=PADDING)
        + eager_attention(X, X, X, is_causal=True, window=3)
        + eager_attention(X[:, :, :1], X, X)
    )
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)
