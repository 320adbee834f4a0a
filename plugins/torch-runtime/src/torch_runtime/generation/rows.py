"""The sequences of a call: their prompts, their bounds, and the tokens that they have.

Shapes: R rows, P columns of the prompt, S columns that are written, N most new tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automodels.generation.lengths import Lengths
from automodels.generation.prompts import Prompt
from automodels.generation.stop_texts import StopTexts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """What is known of the prompts."""

    ids: Tensor
    """[R, P] int64."""

    real: Tensor | None
    """[R, P + N] bool, which columns are no padding; None where no row has any, which makes everything quicker."""

    prompt: Tensor
    """[R] tokens of each prompt, padding not counted."""

    shortest: Tensor
    """[R] new tokens before which a row does not end."""

    longest: Tensor
    """[R] new tokens at which a row ends."""

    most_shortest: int
    least_longest: int
    most_longest: int
    stop: Tensor | None
    """[R] of each prompt the state in which `StopTexts` leaves it; None where no text ends a sequence."""

    @classmethod
    def of(cls, prompt: Prompt, bounds: Sequence[Lengths], stops: StopTexts | None, device: torch.device) -> Rows:
        """The rows of a checked prompt."""
        shortest = [max(bound.shortest - bound.prompt, 0) for bound in bounds]
        longest = [bound.new for bound in bounds]
        real = None
        if not prompt.mask.all():
            real = torch.from_numpy(np.pad(prompt.mask, [(0, 0), (0, max(longest))], constant_values=True)).to(device)
        return cls(
            ids=torch.from_numpy(prompt.ids).to(device, torch.int64),
            real=real,
            prompt=torch.from_numpy(prompt.lengths).to(device, torch.int64),
            shortest=torch.tensor(shortest, device=device),
            longest=torch.tensor(longest, device=device),
            most_shortest=max(shortest),
            least_longest=min(longest),
            most_longest=max(longest),
            stop=None if stops is None else torch.tensor([stops.state(ids) for ids in prompt.texts], device=device),
        )

    @property
    def columns(self) -> int:
        """Columns of the prompt."""
        return self.ids.shape[1]

    @property
    def slots(self) -> int:
        """Columns that will be written at most."""
        return self.columns + self.most_longest

    def repeated(self, times: int) -> Rows:
        """Each row `times` times, its copies side by side."""
        return self if times == 1 else self.taken(torch.arange(len(self.ids) * times, device=self.ids.device) // times)

    def taken(self, rows: Tensor) -> Rows:
        """Those at the rows."""
        per_row: dict[str, Any] = {
            field.name: value[rows]
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return dataclasses.replace(self, **per_row)

    def room(self) -> Tensor:
        """[R, P + N] the prompts, and columns for what comes behind them."""
        tokens = self.ids.new_zeros(len(self.ids), self.slots)
        tokens[:, : self.columns] = self.ids
        return tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class Past:
    """What was before the token that is chosen."""

    tokens: Tensor
    """[R, S]"""

    new: int
    """New tokens among them."""

    rows: Rows

    @property
    def real(self) -> Tensor | None:
        """[R, S] which of the tokens are no padding; None where all are."""
        return None if self.rows.real is None else self.rows.real[:, : self.tokens.shape[1]]
