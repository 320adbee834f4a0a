"""Beam search and beam sampling: several sequences for each prompt, of which the best are followed.

What is chosen, and when it ends, is as in transformers 5. A prompt that has ended stays as it is, so that it gets what
it would get alone.

Shapes: B prompts, K beams, R = B · K rows, S columns, N most new tokens, V vocabulary, C candidates (at least 2 · K, so
that K of them are no ends).
"""

from __future__ import annotations

import dataclasses
import math
import time

import torch
from torch import Tensor
from torch.nn import functional

from automodels.generation.stop_texts import HIT
from torch_runtime.generation.decoder import Decoder
from torch_runtime.generation.drawing import Draws
from torch_runtime.generation.output import GenerateOutput
from torch_runtime.generation.plan import Plan
from torch_runtime.generation.rows import Past, Rows
from torch_runtime.generation.scoring import changed, judged

OUT = -1.0e9  # the score of what must not be chosen; finite, so that such candidates still have an order


@dataclasses.dataclass(kw_only=True)
class Sequences:
    """J sequences for each prompt, the best first."""

    tokens: Tensor
    """[B, J, S]"""

    scores: Tensor
    """[B, J]"""

    origins: Tensor
    """[B, J, N] for each new token the row that it was chosen in; -1 where there is none."""

    stop: Tensor | None
    """[B, J] how much of a text that ends a sequence is there."""

    def taken(self, places: Tensor) -> Sequences:
        """Those at the places [B, I]."""
        return self._each(lambda array, _: taken(array, places), self)

    def beside(self, other: Sequences) -> Sequences:
        """These, then the other ones."""
        return self._each(lambda mine, its: torch.cat([mine, its], dim=1), other)

    def where(self, kept: Tensor, other: Sequences) -> Sequences:
        """These for the prompts [B] that are kept, the other ones for the rest."""
        return self._each(lambda mine, its: where(kept, mine, its), other)

    def _each(self, change: object, other: Sequences) -> Sequences:
        assert callable(change)
        names = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None]
        new = {name: change(getattr(self, name), getattr(other, name)) for name in names}
        return Sequences(**{"stop": None, **new})


class Beams:
    """The state of a call; `advance` takes one token more for every beam until `is_over`."""

    def __init__(self, decoder: Decoder, rows: Rows, plan: Plan, draws: Draws | None) -> None:
        """Nothing is computed yet: all beams are the prompt, and only the first one counts."""
        self._decoder, self._plan, self._draws = decoder, plan, draws
        prompts, beams = len(rows.ids), plan.beams
        self._prompts = rows
        self._rows = rows.repeated(beams)
        device = rows.ids.device
        first = torch.full((prompts, beams), OUT, device=device)
        first[:, 0] = 0.0
        origins = torch.full((prompts, beams, rows.most_longest), -1, device=device)
        tokens = self._rows.room().view(prompts, beams, -1)
        stop = None if self._rows.stop is None else self._rows.stop.view(prompts, beams)
        self._running = Sequences(tokens=tokens, scores=first, origins=origins, stop=stop)
        self._ended = dataclasses.replace(self._running, scores=torch.full_like(first, OUT))
        self._is_ended = torch.zeros_like(first, dtype=torch.bool)
        self._improves = torch.ones(prompts, dtype=torch.bool, device=device)
        self._over = torch.zeros(prompts, dtype=torch.bool, device=device)
        self._own = torch.arange(len(self._rows.ids), device=device)
        self._scores: list[Tensor] = []
        self._logits: list[Tensor] = []
        self.new = 0
        """New tokens so far."""

        self.is_over = False

    def advance(self) -> None:
        """One token more for every running sequence; those that end by it are kept apart."""
        plan, length = self._plan, self._rows.columns + self.new
        so_far = self._running.tokens.flatten(0, 1)[:, :length]
        logits = self._decoder.first(plan.beams) if self.new == 0 else self._decoder.next(so_far)
        past = Past(tokens=so_far, new=self.new, rows=self._rows)
        scores = changed(functional.log_softmax(logits, dim=-1), past, plan)
        self._keep(scores, logits)
        candidates, ends = self._candidates(scores, length)
        # A candidate that ended goes to those that ended, not on.
        going = (candidates.scores + ends * OUT).topk(plan.beams).indices
        running = candidates.taken(going)
        running.scores = running.scores + taken(ends, going) * OUT
        ended, is_ended = self._merged(candidates, ends)
        improves = self._improves & self._may_improve(running, ended, is_ended)
        over = ~improves | ends.all(dim=1)
        if plan.config.early_stopping is True:
            over |= is_ended.all(dim=1)
        kept, origins = self._over, running.origins[:, :, self.new].flatten()
        if bool(kept.any()):
            running, ended = self._running.where(kept, running), self._ended.where(kept, ended)
            is_ended, improves = where(kept, self._is_ended, is_ended), where(kept, self._improves, improves)
        self._running, self._ended, self._is_ended, self._improves = running, ended, is_ended, improves
        self._over = kept | over
        self.new += 1
        self.is_over = bool(self._over.all())
        if not self.is_over:
            self._reorder(origins)

    def result(self) -> GenerateOutput:
        """The best sequences of each prompt."""
        config, columns = self._plan.config, self._rows.columns
        returned = config.num_return_sequences
        tokens, scores, origins = (
            array[:, :returned].flatten(0, 1) for array in (self._ended.tokens, self._ended.scores, self._ended.origins)
        )
        lengths = (origins >= 0).sum(dim=1)
        longest = int(lengths.max())
        new = tokens[:, columns : columns + longest]
        behind = torch.arange(longest, device=tokens.device)[None] >= lengths[:, None]
        return GenerateOutput(
            sequences=torch.cat([tokens[:, :columns], new.masked_fill(behind, self._plan.pad)], dim=1),
            sequences_scores=scores,
            scores=tuple(self._scores) if config.output_scores else None,
            logits=tuple(self._logits) if config.output_logits else None,
            beam_indices=origins[:, :longest],
            lengths=lengths,
        )

    def _candidates(self, scores: Tensor, length: int) -> tuple[Sequences, Tensor]:
        """[B, C] the best continuations of a prompt's beams, or a sample of them, and which of them end."""
        plan, beams, vocabulary = self._plan, self._plan.beams, scores.shape[-1]
        flat = (scores.reshape(-1, beams, vocabulary) + self._running.scores[..., None]).flatten(1)
        drawn = flat
        if self._draws is not None:
            # The highest scores with Gumbel noise are a sample without replacement: Kool et al. 2019,
            # https://arxiv.org/abs/1903.06059.
            drawn = flat + self._draws.gumbel(flat.shape[1]).to(flat.dtype)
        places = drawn.topk(plan.candidates).indices
        origin, token = places // vocabulary, places % vocabulary
        candidates = self._running.taken(origin)
        rows = origin + torch.arange(len(origin), device=origin.device)[:, None] * beams
        candidates.tokens[:, :, length] = token
        candidates.origins[:, :, self.new] = rows
        candidates.scores = taken(flat, places)
        return candidates, self._ends(candidates, token, rows, scores, length)

    def _ends(self, candidates: Sequences, token: Tensor, rows: Tensor, scores: Tensor, length: int) -> Tensor:
        """[B, C] which of the candidates end; notes how much of a text they have."""
        plan = self._plan
        late = plan.deadline is not None and time.monotonic() >= plan.deadline
        ends = ((self._prompts.longest <= self.new + 1) | late)[:, None].expand_as(token)
        if plan.ends is not None:
            ends = ends | plan.ends[token]
        if plan.stops is not None:
            candidates.stop = plan.stops[candidates.stop, token]
            ends = ends | (candidates.stop == HIT)
        for criterion in plan.criteria:
            so_far = candidates.tokens.flatten(0, 1)[:, : length + 1]
            ends = ends | judged(criterion, so_far, scores[rows.flatten()]).reshape(ends.shape)
        return ends

    def _merged(self, candidates: Sequences, ends: Tensor) -> tuple[Sequences, Tensor]:
        """The best of the sequences that had ended and those that end now, and which of them are there."""
        plan = self._plan
        # A candidate that is not among the first K is there to go on; it does not end.
        now = ends & (torch.arange(plan.candidates, device=ends.device) < plan.beams)
        if not bool(now.any()):
            return self._ended, self._is_ended
        scores = candidates.scores / _power(self.new + 1, plan)
        closed = ~self._improves
        if plan.config.early_stopping is True:
            closed = closed | self._is_ended.all(dim=1)
        scores = scores + closed[:, None] * OUT + ~now * OUT
        merged = self._ended.beside(dataclasses.replace(candidates, scores=scores))
        places = merged.scores.topk(plan.beams).indices
        return merged.taken(places), taken(torch.cat([self._is_ended, now], dim=1), places)

    def _may_improve(self, running: Sequences, ended: Sequences, is_ended: Tensor) -> Tensor:
        """[B] whether the best running sequence would beat the worst ended one, at the length assumed for it."""
        plan = self._plan
        penalty = 1.0 if plan.config.length_penalty is None else plan.config.length_penalty
        if plan.config.early_stopping == "never" and penalty > 0:
            # A longer one may have a better score, if lengths count in its favour.
            best = running.scores[:, 0] / self._prompts.longest.float().pow(penalty)
        else:
            best = running.scores[:, 0] / _power(self.new + 1, plan)
        worst = torch.where(is_ended, ended.scores.amin(dim=1, keepdim=True), OUT)
        return (best[:, None] > worst).any(dim=1)

    def _reorder(self, rows: Tensor) -> None:
        if rows.device.type != "cpu" or not torch.equal(rows, self._own):
            self._decoder.reorder(rows)

    def _keep(self, scores: Tensor, logits: Tensor) -> None:
        if self._plan.config.output_scores:
            self._scores.append(scores)
        if self._plan.config.output_logits:
            self._logits.append(logits)


def _power(length: int, plan: Plan) -> float:
    penalty = 1.0 if plan.config.length_penalty is None else plan.config.length_penalty
    return math.pow(length, penalty)


def taken(array: Tensor, places: Tensor) -> Tensor:
    """[B, I, …]: of each row of [B, J, …] those at the places [B, I]."""
    wide = places.reshape(*places.shape, *[1] * (array.dim() - 2)).expand(*places.shape, *array.shape[2:])
    return array.gather(1, wide)


def where(kept: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """The old array for the rows [B] that are kept, the new one for the rest."""
    return torch.where(kept.reshape(-1, *[1] * (old.dim() - 1)), old, new)
