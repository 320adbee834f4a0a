"""What generate returns.

Shapes: R rows (as many for each prompt as are returned), F rows that are followed, T columns of the prompt, N new
tokens of the longest row, V vocabulary.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from automodels.runtime.outputs import ModelOutput


@dataclasses.dataclass(frozen=True)
class GenerateOutput(ModelOutput):
    """Generated sequences, and on request the scores that they were chosen by."""

    sequences: Tensor
    """[R, T + N] each prompt as it was given, and its continuation; shorter ones are filled with the padding token."""

    sequences_scores: Tensor | None = None
    """[R] of beam search: the sum of log-probabilities, divided by a power of the length."""

    scores: tuple[Tensor, ...] | None = None
    """For each step [F, V] the scores after all changes; of beam search log-probabilities of each beam."""

    logits: tuple[Tensor, ...] | None = None
    """For each step [F, V] the scores as the model gave them."""

    beam_indices: Tensor | None = None
    """[R, N] of beam search: for each new token the row of `scores` that it was chosen in; -1 behind the end."""

    lengths: Tensor | None = None
    """[R] new tokens of each sequence, the one that ended it included."""
