"""What generate returns.

Shapes: R rows (as many for each prompt as are returned), F rows that are followed, T columns of the prompt, N new
tokens of the longest row, M steps, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import jax
from jaxtyping import Array, Float, Int

from automodels.runtime.outputs import ModelOutput


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxGenerateOutput(ModelOutput):
    """Generated sequences, and on request the scores that they were chosen by."""

    sequences: Int[Array, "R T+N"]
    """Each prompt as it was given, and its continuation; shorter ones are filled with the padding token."""

    lengths: Int[Array, " R"]
    """New tokens of each sequence, the one that ended it included."""

    sequences_scores: Float[Array, " R"] | None = None
    """Of beam search: the sum of log-probabilities, divided by a power of the length."""

    scores: Float[Array, "M F V"] | None = None
    """For each step the scores after all changes; of beam search log-probabilities of each beam."""

    logits: Float[Array, "M F V"] | None = None
    """For each step the scores as the model gave them."""

    beam_indices: Int[Array, "R N"] | None = None
    """Of beam search: for each new token the row of `scores` that it was chosen in; -1 behind the end."""
