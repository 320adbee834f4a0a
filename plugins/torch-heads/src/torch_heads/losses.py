"""Losses of the tasks, one function each: the mean over the labels that count, computed in float32.

A label of -100 counts for nothing, as in every data collator. Shapes of labels are always checked; their values where
that does not wait for a device: on a CPU, and not while torch.compile is looking.

Shapes: B batch, T tokens, C classes, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from automodels.errors import InputError, UnsupportedConfigError, nearest

IGNORED = -100
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


def class_loss(logits: Tensor, labels: Tensor, *, name: str = "labels") -> Tensor:
    """[] cross entropy of class numbers [...] under scores [..., C].

    Raises InputError for labels of another shape, that are no whole numbers, or that no class has.
    """
    if labels.shape != logits.shape[:-1]:
        raise InputError(f"{name} has shape {list(labels.shape)}; it needs {list(logits.shape[:-1])}.")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"{name} holds {labels.dtype}, not numbers of classes.")
    classes = logits.shape[-1]
    _check_range(name, labels, classes)
    flat = logits.reshape(-1, classes).float()
    return functional.cross_entropy(flat, labels.reshape(-1).long(), ignore_index=IGNORED)


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """[] cross entropy of tokens [B, T], each but the first under the scores [B, T, V] of the place before it.

    The labels are the input ids, with -100 for what should not count. Raises InputError as `class_loss`.
    """
    if labels.shape != logits.shape[:-1]:
        raise InputError(f"labels has shape {list(labels.shape)}; it needs {list(logits.shape[:-1])}.")
    return class_loss(logits[:, :-1], labels[:, 1:])


def sequence_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """[] what a classifier of sequences learns from, for scores [B, C].

    - "regression": mean squared error of numbers [B] or [B, C];
    - "single_label_classification": cross entropy of class numbers [B];
    - "multi_label_classification": binary cross entropy of each class, labels [B, C] being 0 or 1;
    - None: the first for one class, else the second for whole numbers and the third for others.

    Labels of one class may also be [B, 1]. Raises InputError for labels that do not fit, UnsupportedConfigError for
    another type of problem.
    """
    check_problem_type(problem_type)
    problem = problem_type or _problem_of(logits, labels)
    if problem == "single_label_classification":
        return class_loss(logits, labels.squeeze(-1) if labels.dim() == 2 and labels.shape[1] == 1 else labels)
    if problem == "regression" and logits.shape[-1] == 1 and labels.dim() == 1:
        labels = labels[:, None]
    if labels.shape != logits.shape:
        raise InputError(f"labels has shape {list(labels.shape)}; for {problem} it needs {list(logits.shape)}.")
    if problem == "regression":
        return functional.mse_loss(logits.float(), labels.float())
    return functional.binary_cross_entropy_with_logits(logits.float(), labels.float())


def span_loss(
    start_logits: Tensor, end_logits: Tensor, start_positions: Tensor | None, end_positions: Tensor | None
) -> Tensor | None:
    """[] mean of the cross entropies of an answer's first and last token [B] under scores [B, T]; None without labels.

    A position at T or beyond counts for nothing: the answer was cut off. Raises InputError for one position without the
    other, for another shape, and for positions below 0.
    """
    if not are_both_given("start_positions", start_positions, "end_positions", end_positions):
        return None
    assert start_positions is not None
    assert end_positions is not None
    first = _position_loss("start_positions", start_logits, start_positions)
    return (first + _position_loss("end_positions", end_logits, end_positions)) / 2


def checked_positions(name: str, positions: Tensor, batch: int) -> Tensor:
    """[B] whole numbers, not below 0, from [B] or [B, 1]; raises InputError for anything else."""
    if positions.dim() == 2 and positions.shape[1] == 1:
        positions = positions.squeeze(-1)
    if tuple(positions.shape) != (batch,):
        raise InputError(f"{name} has shape {list(positions.shape)}; it needs [{batch}], one for each sequence.")
    if positions.is_floating_point() or positions.dtype == torch.bool:
        raise InputError(f"{name} holds {positions.dtype}, not places of tokens.")
    if can_look_at(positions) and (low := int(positions.min())) < 0:
        raise InputError(f"{name} has the value {low}; the first token is 0.")
    return positions.long()


def are_both_given(first: str, one: Tensor | None, second: str, other: Tensor | None) -> bool:
    """Whether both labels are given; raises InputError when only one of two that belong together is."""
    if (one is None) != (other is None):
        given, lost = (first, second) if other is None else (second, first)
        raise InputError(f"{given} is given without {lost}; a loss needs both.")
    return one is not None


def check_problem_type(problem_type: str | None) -> None:
    """Raises UnsupportedConfigError for a type of problem that no loss is for."""
    if problem_type is not None and problem_type not in PROBLEM_TYPES:
        guess = nearest(problem_type, PROBLEM_TYPES)
        raise UnsupportedConfigError(
            f"problem_type is {problem_type!r}, not one of {', '.join(PROBLEM_TYPES)}.",
            hints=[f"Did you mean {guess!r}?"] if guess else [],
        )


class WithProblemType:
    """A classifier of sequences, whose config says what `sequence_loss` is computed."""

    @classmethod
    def check_config(cls, config: object) -> None:
        """As its base's; also raises UnsupportedConfigError for a `problem_type` that no loss is for."""
        super().check_config(config)  # type: ignore[misc]  # a model's
        check_problem_type(getattr(config, "problem_type", None))


def can_look_at(values: Tensor) -> bool:
    """Whether values are known without waiting for a device, and looking at them does not end a compiled program."""
    return values.device.type == "cpu" and values.numel() > 0 and not torch.compiler.is_compiling()


def _problem_of(logits: Tensor, labels: Tensor) -> str:
    if logits.shape[-1] == 1:
        return PROBLEM_TYPES[0]
    return PROBLEM_TYPES[2 if labels.is_floating_point() or labels.dtype == torch.bool else 1]


def _position_loss(name: str, logits: Tensor, positions: Tensor) -> Tensor:
    tokens = logits.shape[-1]
    places = checked_positions(name, positions, logits.shape[0]).clamp(max=tokens)
    return functional.cross_entropy(logits.float(), places, ignore_index=tokens)


def _check_range(name: str, labels: Tensor, classes: int) -> None:
    if not can_look_at(labels):
        return
    low, high = (int(found) for found in labels.masked_fill(labels == IGNORED, 0).aminmax())
    if low < 0 or high >= classes:
        raise InputError(
            f"{name} has the value {low if low < 0 else high}; there are classes 0 to {classes - 1}, and {IGNORED} for "
            "labels that do not count."
        )
