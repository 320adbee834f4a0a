"""Beam question answering against transformers' heads: golden files made by tests/golden/make_torch_heads.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from automodels.checkpoint.reader import Checkpoint
from automodels.errors import InputError
from torch_heads import BertConfig, PoolerAnswerClass, PoolerEndLogits, PoolerStartLogits, SQuADHead, SquadHeadOutput

GOLDEN = Path(__file__).parents[1] / "golden" / "torch_heads"
BEAM = ("start_top_log_probs", "start_top_index", "end_top_log_probs", "end_top_index", "cls_logits")


class Case:
    """The head with the reference's weights, its inputs, and what the reference computes."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.dtype = dtype
        config = BertConfig(hidden_size=12, start_n_top=2, end_n_top=3, layer_norm_eps=1e-5)
        self.head = SQuADHead(config).eval()
        tensors = Checkpoint.open(GOLDEN / name)
        self.head.load_state_dict({key: torch.from_numpy(view.numpy().copy()) for key, view in tensors.items()})
        self.head.to(dtype)
        with np.load(GOLDEN / name / "golden.npz") as data:
            self.data = dict(data)

    def __getitem__(self, name: str) -> torch.Tensor:
        found = torch.from_numpy(self.data[f"in_{name}"])
        return found.to(self.dtype) if found.is_floating_point() else found

    def given(self, *names: str) -> dict[str, torch.Tensor]:
        return {name: self[name] for name in names}

    def check(self, name: str, found: torch.Tensor) -> None:
        """Equal to 1e-5 in float32; in float16 to what one more rounding makes of it."""
        expected = self.data[name]
        tolerance = 1e-5 if self.dtype is torch.float32 else 3e-3
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.detach().float(), expected.astype(np.float32), rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[("squad", torch.float32), ("squad_half", torch.float16)], ids=["float32", "float16"])
def case(request):
    return Case(*request.param)


@pytest.fixture
def head():
    return SQuADHead(BertConfig(hidden_size=12, start_n_top=2, end_n_top=3)).eval()


STATES = torch.linspace(-1, 1, 2 * 7 * 12).reshape(2, 7, 12)


def test_scores_of_starts_equal_the_reference_and_a_masked_token_has_the_same_low_score(case):
    start = case.head.start_logits

    case.check("parts_start", start(case["hidden_states"]))
    case.check("parts_start_masked", start(case["hidden_states"], p_mask=case["p_mask"]))


def test_scores_of_ends_equal_the_reference_for_a_starts_states_and_for_its_place(case):
    end, states = case.head.end_logits, case["hidden_states"]

    case.check("parts_end_of_states", end(states, start_states=case["start_states"]))
    case.check("parts_end_of_positions", end(states, **case.given("start_positions", "p_mask")))


def test_scores_of_no_answer_equal_the_reference_with_and_without_the_class_tokens_place(case):
    answer, states = case.head.answer_class, case["hidden_states"]

    case.check("parts_class_of_states", answer(states, start_states=states[:, 2]))
    case.check("parts_class_of_positions", answer(states, **case.given("start_positions", "cls_index")))


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("plain", ()),
        ("masked", ("p_mask",)),
        ("answerable", ("cls_index", "is_impossible")),
        ("all", ("cls_index", "is_impossible", "p_mask")),
    ],
)
def test_the_loss_equals_the_reference(case, group, names):
    known = case.given("hidden_states", "start_positions", "end_positions", *names)

    output = case.head(**known, return_dict=True)

    assert output.keys() == ("loss",)
    case.check(f"loss_{group}", output.loss)


def test_the_losss_gradient_for_every_parameter_equals_the_reference():
    case = Case("squad", torch.float32)
    expected = Checkpoint.open(GOLDEN / "squad" / "gradients")
    names = ("hidden_states", "start_positions", "end_positions", "cls_index", "is_impossible", "p_mask")

    case.head(**case.given(*names))[0].backward()

    assert {name for name, _ in case.head.named_parameters()} == set(expected)
    for name, parameter in case.head.named_parameters():
        np.testing.assert_allclose(parameter.grad, expected[name].numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("group", "names"), [("plain", ()), ("masked", ("cls_index", "p_mask"))])
def test_the_beam_equals_the_reference(case, group, names):
    known = case.given("hidden_states", *names)

    with torch.no_grad():
        output = case.head(**known, return_dict=True)

    assert output.keys() == BEAM
    for name in BEAM:
        case.check(f"{group}_{name}", output[name])


def test_a_tuple_is_what_a_call_without_return_dict_gives(case):
    known = case.given("hidden_states", "cls_index", "p_mask")

    with torch.no_grad():
        fields, output = case.head(**known), case.head(**known, return_dict=True)

    assert isinstance(output, SquadHeadOutput)
    assert all(torch.equal(field, output[name]) for field, name in zip(fields, BEAM, strict=True))


def test_ends_are_ordered_by_rank_and_then_by_start(head):
    with torch.no_grad():
        output = head(STATES, return_dict=True)
        for place in range(2):
            start = output.start_top_index[:, place]
            ends = torch.softmax(head.end_logits(STATES, start_positions=start), -1)
            best = ends.topk(3, -1)

            torch.testing.assert_close(output.end_top_log_probs[:, place::2], best.values)
            assert torch.equal(output.end_top_index[:, place::2], best.indices)


def test_no_answer_starts_or_ends_at_a_masked_token(head):
    mask = torch.ones(2, 7)
    mask[:, 2:5] = 0

    with torch.no_grad():
        output = head(STATES, p_mask=mask, return_dict=True)

    for index in (output.start_top_index, output.end_top_index):
        assert set(index.unique().tolist()) <= {2, 3, 4}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mask_dtype", [torch.float32, torch.float16, torch.int64, torch.bool])
def test_a_mask_of_any_type_keeps_the_scores_type_and_makes_zeros_of_probabilities(dtype, mask_dtype):
    start = PoolerStartLogits(BertConfig(hidden_size=12)).to(dtype)
    mask = torch.zeros(2, 7).to(mask_dtype)
    mask[:, :3] = 1

    scores = start(STATES.to(dtype), p_mask=mask)
    everything = start(STATES.to(dtype), p_mask=torch.ones_like(mask))

    assert scores.dtype == dtype
    assert scores.isfinite().all()
    assert not torch.softmax(scores, -1)[:, :3].any()
    assert torch.softmax(everything, -1).isfinite().all()


def test_labels_may_have_the_axis_that_data_loaders_leave(head):
    first, last = torch.tensor([1, 2]), torch.tensor([3, 2])
    extra = {"cls_index": torch.tensor([0, 0]), "is_impossible": torch.tensor([0, 1])}

    flat = head(STATES, first, last, **extra)[0]
    wide = head(STATES, first[:, None], last[:, None], **{name: value[:, None] for name, value in extra.items()})[0]

    assert torch.equal(flat, wide)


def test_without_a_beam_in_the_config_it_is_five_by_five():
    head = SQuADHead(BertConfig(hidden_size=12))

    assert (head.start_n_top, head.end_n_top) == (5, 5)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["start_n_top", "end_n_top"])
def test_a_beam_that_is_no_whole_number_above_zero_is_refused(name, size):
    with pytest.raises(InputError, match=f"{name} is {size!r}"):
        SQuADHead(BertConfig(hidden_size=12, **{name: size}))


@pytest.mark.parametrize("name", ["start_n_top", "end_n_top"])
def test_a_beam_wider_than_the_text_is_refused(name):
    head = SQuADHead(BertConfig(hidden_size=12, **{"start_n_top": 2, "end_n_top": 2, name: 8}))

    with pytest.raises(InputError, match=f"{name} is 8; a text of 7 tokens"):
        head(STATES)


PLACES = torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start_positions": PLACES}, "start_positions is given without end_positions"),
        ({"end_positions": PLACES}, "end_positions is given without start_positions"),
        ({"is_impossible": PLACES}, "is_impossible is given without start_positions"),
        (
            {"start_positions": PLACES, "end_positions": PLACES, "is_impossible": torch.tensor([0, 1])},
            "is_impossible is given without cls_index",
        ),
        (
            {"start_positions": PLACES, "end_positions": PLACES, "cls_index": PLACES, "is_impossible": torch.ones(3)},
            r"is_impossible has shape \[3\]; it needs \[2\]",
        ),
        ({"start_positions": torch.tensor([1, 7]), "end_positions": PLACES}, "start_positions has the value 7"),
        ({"start_positions": PLACES, "end_positions": torch.tensor([-1, 2])}, "end_positions has the value -1"),
        ({"start_positions": PLACES.float(), "end_positions": PLACES}, "start_positions holds torch.float32"),
        ({"start_positions": torch.tensor([1]), "end_positions": PLACES}, r"start_positions has shape \[1\]"),
        ({"cls_index": torch.tensor([0, 9])}, "cls_index has the value 9; the last of 7 tokens is 6"),
        ({"p_mask": torch.zeros(2, 6)}, r"p_mask has shape \[2, 6\]; it needs \[2, 7\]"),
    ],
)
def test_labels_and_masks_that_do_not_fit_are_refused(head, given, message):
    with pytest.raises(InputError, match=message):
        head(STATES, **given)


@pytest.mark.parametrize("part", [PoolerEndLogits, PoolerAnswerClass])
def test_an_end_or_a_class_without_a_start_is_refused(part):
    with pytest.raises(InputError, match="start_states or start_positions"):
        part(BertConfig(hidden_size=12))(STATES)


def test_places_win_over_states(head):
    end = head.end_logits

    found = end(STATES, start_states=torch.zeros_like(STATES), start_positions=PLACES)

    assert torch.equal(found, end(STATES, start_positions=PLACES))
