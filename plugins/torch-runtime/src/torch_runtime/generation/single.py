"""Greedy decoding and sampling: one sequence a row.

Shapes: R rows, S columns, V vocabulary.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from automodels.generation.stop_texts import HIT
from torch_runtime.generation.decoder import Decoder
from torch_runtime.generation.drawing import Draws, sampled
from torch_runtime.generation.output import GenerateOutput
from torch_runtime.generation.plan import Plan
from torch_runtime.generation.rows import Past, Rows
from torch_runtime.generation.scoring import changed, judged


class Single:
    """The state of a call; `advance` takes one token more for every row until `is_over`."""

    def __init__(self, decoder: Decoder, rows: Rows, plan: Plan, draws: Draws | None) -> None:
        """Nothing is computed yet."""
        self._decoder, self._plan, self._draws = decoder, plan, draws
        self._rows = rows.repeated(plan.followed)
        self._tokens = self._rows.room()
        self._lengths = torch.zeros_like(self._rows.prompt)
        self._finished = torch.zeros_like(self._rows.prompt, dtype=torch.bool)
        self._stop = self._rows.stop
        self._scores: list[Tensor] = []
        self._logits: list[Tensor] = []
        # What the model reads behind the end of a row, which nobody looks at, has to be in the vocabulary.
        self._filler = min(plan.pad, decoder.vocab_size - 1)
        even = rows.least_longest == rows.most_longest
        self._ends_early = not (even and plan.ends is None and plan.stops is None and not plan.criteria)
        self.new = 0
        """New tokens so far."""

        self.is_over = False

    def advance(self) -> None:
        """One more token for every row that goes on, and padding for the others."""
        length = self._rows.columns + self.new
        so_far = self._tokens[:, :length]
        logits = self._decoder.first(self._plan.followed) if self.new == 0 else self._decoder.next(so_far)
        scores = changed(logits, Past(tokens=so_far, new=self.new, rows=self._rows), self._plan)
        chosen = scores.argmax(dim=-1) if self._draws is None else sampled(scores, self._draws.uniform(self.new))
        self._keep(scores, logits)
        if self._ends_early and self.new:
            chosen = torch.where(self._finished, self._filler, chosen)
        self._tokens[:, length] = chosen
        self.new += 1
        self._end(chosen, scores, self._tokens[:, : length + 1])

    def piece(self, since: int) -> Tensor:
        """[R, n] new tokens behind the first `since` of them, with padding behind a row's end."""
        columns = self._rows.columns
        return self._filled(self._tokens[:, columns + since : columns + self.new], since)

    def result(self) -> GenerateOutput:
        """The sequences that there are now."""
        return GenerateOutput(
            sequences=torch.cat([self._rows.ids, self.piece(0)], dim=1),
            scores=tuple(self._scores) if self._plan.config.output_scores else None,
            logits=tuple(self._logits) if self._plan.config.output_logits else None,
            lengths=self._lengths if self._ends_early else torch.full_like(self._lengths, self.new),
        )

    def _end(self, chosen: Tensor, scores: Tensor, tokens: Tensor) -> None:
        """Finds out which rows end here, and whether all have ended."""
        plan, rows = self._plan, self._rows
        late = plan.deadline is not None and time.monotonic() >= plan.deadline
        self.is_over = late or self.new >= rows.most_longest
        if not self._ends_early:
            return
        ends = rows.longest <= self.new
        if plan.ends is not None:
            ends = ends | plan.ends[chosen]
        if plan.stops is not None:
            assert self._stop is not None
            self._stop = plan.stops[self._stop, chosen]
            ends = ends | (self._stop == HIT)
        for criterion in plan.criteria:
            ends = ends | judged(criterion, tokens, scores)
        self._lengths += ~self._finished
        self._finished |= ends
        self.is_over = self.is_over or bool(self._finished.all())

    def _filled(self, tokens: Tensor, since: int) -> Tensor:
        if not self._ends_early:
            return tokens
        places = torch.arange(since, since + tokens.shape[1], device=tokens.device)
        return torch.where(places[None] < self._lengths[:, None], tokens, self._plan.pad)

    def _keep(self, scores: Tensor, logits: Tensor) -> None:
        if self._plan.config.output_scores:
            self._scores.append(scores)
        if self._plan.config.output_logits:
            self._logits.append(logits)
