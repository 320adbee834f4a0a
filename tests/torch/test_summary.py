"""Sequence summaries against transformers: golden files made by tests/golden/make_torch_heads.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from automodels.errors import ConfigValueError, InputError, UnsupportedConfigError
from torch_heads import BertConfig, SequenceSummary

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_heads" / "summary"
CASES = json.loads((GOLDEN / "golden.json").read_text())
WIDTH = 12


@pytest.fixture(scope="module")
def arrays():
    with np.load(GOLDEN / "golden.npz") as data:
        return dict(data)


def made(name: str, arrays: dict[str, np.ndarray]) -> SequenceSummary:
    summary = SequenceSummary(BertConfig(hidden_size=WIDTH, **CASES[name])).eval()
    weights = {key: arrays.get(f"{name}_{key.replace('.', '_')}") for key in summary.state_dict()}
    summary.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return summary


@pytest.mark.parametrize("name", CASES)
def test_the_summary_equals_the_reference_with_an_index_and_without(name, arrays):
    summary = made(name, arrays)
    states, index = (torch.from_numpy(arrays[f"in_{key}"]) for key in ("hidden_states", "cls_index"))

    with torch.no_grad():
        found, default = summary(states, index), summary(states)

    assert found.shape == (len(states), summary.width)
    np.testing.assert_allclose(found, arrays[f"{name}_summary"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(default, arrays[f"{name}_default"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["summary_type"] == "cls_index"])
def test_an_index_for_each_choice_of_each_sequence_equals_the_reference(name, arrays):
    states, index = (torch.from_numpy(arrays[f"in_{key}"]) for key in ("choices", "choices_index"))

    with torch.no_grad():
        found = made(name, arrays)(states, index)

    np.testing.assert_allclose(found, arrays[f"{name}_choices"], rtol=1e-5, atol=1e-6)


def test_both_dropouts_act_in_training_alone():
    states = torch.randn(1, 3, 1200)
    sizes = {"hidden_size": 1200, "summary_type": "mean"}
    first = SequenceSummary(BertConfig(**sizes, summary_use_proj=True, summary_first_dropout=0.5))
    last = SequenceSummary(BertConfig(**sizes, summary_last_dropout=0.25))

    zeros = (last.train()(states) == 0).float().mean().item()

    assert 0.2 < zeros < 0.3
    assert not torch.equal(first.train()(states), first(states))
    assert torch.equal(last.eval()(states), states.mean(1))
    assert torch.equal(first.eval()(states), first(states))


def test_a_config_that_says_nothing_takes_the_last_token_as_it_is():
    states = torch.randn(2, 5, WIDTH)

    assert torch.equal(SequenceSummary(BertConfig(hidden_size=WIDTH))(states), states[:, -1])


@pytest.mark.parametrize("unknown", ["CLS", "lst", "", None, 3])
def test_a_summary_that_does_not_exist_is_refused_by_name(unknown):
    with pytest.raises(ConfigValueError, match=f"summary_type is {unknown!r}, not one of last, first, mean, cls_index"):
        SequenceSummary(BertConfig(hidden_size=WIDTH, summary_type=unknown))


def test_a_summary_by_attention_is_refused_as_one_that_nobody_has_implemented():
    with pytest.raises(UnsupportedConfigError, match="attn"):
        SequenceSummary(BertConfig(hidden_size=WIDTH, summary_type="attn"))


@pytest.mark.parametrize(
    ("field", "value"), [("summary_activation", "tahn"), ("summary_first_dropout", 1.5), ("summary_last_dropout", "a")]
)
def test_other_values_that_do_not_exist_are_refused_by_name(field, value):
    with pytest.raises(ConfigValueError, match=f"{field} is {value!r}"):
        SequenceSummary(BertConfig(hidden_size=WIDTH, **{field: value}))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([0]), r"shape \[1\]; it needs \[2\]"),
        (torch.tensor([[0], [1]]), r"shape \[2, 1\]; it needs \[2\]"),
        (torch.tensor([0, 5]), "the value 5; tokens are 0 to 4"),
        (torch.tensor([-1, 0]), "the value -1"),
        (torch.tensor([0.0, 1.0]), "torch.float32"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index, message):
    summary = SequenceSummary(BertConfig(hidden_size=WIDTH, summary_type="cls_index"))

    with pytest.raises(InputError, match=f"cls_index (has|holds).*{message}"):
        summary(torch.randn(2, 5, WIDTH), index)
