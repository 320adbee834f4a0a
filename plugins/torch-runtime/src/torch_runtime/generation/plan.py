"""What the options of a call mean, as tensors on the device of the model's inputs.

Shapes: V vocabulary, W words, L tokens of a word but its last, M states of the search for texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from automodels.generation import GenerationConfig
from automodels.generation.changes import banned_words, candidates, kept_tokens, padding, switched_on
from automodels.generation.stop_texts import StopTexts
from automodels.generation.words import Word, token_flags, word_arrays


class Words(NamedTuple):
    """Sequences of tokens, and what is added to the score of the last one behind the others."""

    before: Tensor
    """[W, L] all tokens but the last, at the end of their rows; -1 in front."""

    last: Tensor
    """[W]"""

    bias: Tensor
    """[W]"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that stays the same during a call; None where an option is off."""

    config: GenerationConfig
    changes: tuple[str, ...]
    """Names of the options that change scores, in the order in which they do."""

    processors: tuple[Callable[..., Any], ...]
    """The caller's, after those of the options and before the ones of sampling."""

    criteria: tuple[Callable[..., Any], ...]
    """The caller's reasons to end a sequence."""

    deadline: float | None
    """When, on the clock `time.monotonic`, the time is up."""

    kept: int
    """Tokens that the options of sampling leave at least."""

    candidates: int
    """Continuations of a prompt's beams that are looked at in a step."""

    pad: int
    ends: Tensor | None
    """[V] tokens that end a sequence."""

    forced_ends: Tensor | None
    """[V]"""

    suppressed: Tensor | None
    """[V]"""

    begin_suppressed: Tensor | None
    """[V]"""

    biased: Words | None
    banned: Words | None
    stops: Tensor | None
    """[M, V] for each state of the search for texts that end a sequence, the one behind each token."""

    @property
    def beams(self) -> int:
        """Sequences that are followed at a time for each prompt; 1 without beam search."""
        return self.config.num_beams

    @property
    def followed(self) -> int:
        """Rows of the model's calls for each prompt."""
        return self.beams if self.beams > 1 else self.config.num_return_sequences


def plan_of(
    config: GenerationConfig,
    vocab_size: int,
    device: torch.device,
    *,
    processors: tuple[Callable[..., Any], ...],
    criteria: tuple[Callable[..., Any], ...],
    stops: StopTexts | None,
    deadline: float | None,
) -> Plan:
    """The plan for checked options."""
    on = switched_on(config)

    def flags(tokens: Sequence[int], *, when: bool) -> Tensor | None:
        return torch.from_numpy(token_flags(tokens, vocab_size)).to(device) if when else None

    def words(found: Sequence[Word], *, when: bool) -> Words | None:
        return Words(*(torch.from_numpy(array).to(device) for array in word_arrays(found))) if when else None

    ends = [token for token in config.eos_token_ids if token < vocab_size]  # others cannot occur
    banned = [(word, -np.inf) for word in banned_words(config)]
    return Plan(
        config=config,
        changes=on,
        processors=processors,
        criteria=criteria,
        deadline=deadline,
        kept=min(kept_tokens(config), vocab_size),
        candidates=candidates(config, vocab_size),
        pad=padding(config),
        ends=flags(ends, when=bool(ends)),
        forced_ends=flags(config.forced_eos_token_ids, when="forced_eos_token_id" in on),
        suppressed=flags(config.suppress_tokens or (), when="suppress_tokens" in on),
        begin_suppressed=flags(config.begin_suppress_tokens or (), when="begin_suppress_tokens" in on),
        biased=words(config.sequence_bias or (), when="sequence_bias" in on),
        banned=words(banned, when=bool(banned)),
        stops=None if stops is None else torch.from_numpy(stops.table).to(device),
    )
