"""The changes of scores that options ask for, in the order in which transformers has them.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from automodels.errors import InputError
from automodels.generation.changes import BEFORE_SAMPLING
from torch_runtime.generation import processors, warpers
from torch_runtime.generation.plan import Plan
from torch_runtime.generation.rows import Past

Change = Callable[[Tensor, Past, Plan], Tensor]


def changed(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    """[R, V] scores after all changes; those of the caller come before those of sampling.

    Raises InputError for a function of the caller that returns something else than scores.
    """
    before = [name for name in plan.changes if name in BEFORE_SAMPLING]
    for name in before:
        scores = _CHANGES[name](scores, past, plan)
    if plan.processors:
        scores = scores.clone()  # they may write into what they get
    for processor in plan.processors:
        given = processor(past.tokens, scores)
        if not isinstance(given, Tensor) or given.shape != scores.shape:
            found = f"the shape {list(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
            raise InputError(f"A logits processor returned {found}; it was given {list(scores.shape)}.")
        scores = given.to(scores.dtype)
    for name in plan.changes[len(before) :]:
        scores = _CHANGES[name](scores, past, plan)
    return scores


def judged(criterion: Callable[..., Any], tokens: Tensor, scores: Tensor) -> Tensor:
    """[R] what a criterion of the caller's says, one answer for all rows or one for each."""
    answer = torch.as_tensor(criterion(tokens, scores), dtype=torch.bool, device=tokens.device)
    if tuple(answer.shape) not in ((), (len(tokens),)):
        raise InputError(
            f"A stopping criterion returned the shape {list(answer.shape)}; it needs [] or {[len(tokens)]}."
        )
    return answer.expand(len(tokens))


def _sequence_bias(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    assert plan.biased is not None
    return processors.word_bias(scores, past.tokens, past.real, plan.biased)


def _repetition_penalty(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return processors.repetition_penalty(scores, past.tokens, past.real, plan.config.repetition_penalty or 1.0)


def _no_repeat_ngram(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return processors.no_repeat_ngram(scores, past.tokens, past.real, plan.config.no_repeat_ngram_size or 0)


def _bad_words(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return scores if plan.banned is None else processors.word_bias(scores, past.tokens, past.real, plan.banned)


def _min_length(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    if plan.ends is None or past.new >= past.rows.most_shortest:
        return scores
    return processors.without(scores, plan.ends & (past.new < past.rows.shortest)[:, None])


def _forced_bos(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    if past.new > 0:
        return scores
    token = torch.arange(scores.shape[-1], device=scores.device).eq(plan.config.forced_bos_token_id or 0)
    return processors.forced(scores, token, past.rows.prompt.eq(1))


def _forced_eos(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    assert plan.forced_ends is not None
    if past.new + 1 < past.rows.least_longest:
        return scores
    return processors.forced(scores, plan.forced_ends, past.rows.longest.eq(past.new + 1))


def _decay(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    start, factor = plan.config.exponential_decay_length_penalty or (0, 1.0)
    if plan.ends is None or past.new <= start:
        return scores
    return processors.decayed(scores, plan.ends, factor ** (past.new - start))


def _suppress(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    assert plan.suppressed is not None
    return processors.without(scores, plan.suppressed)


def _begin_suppress(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    assert plan.begin_suppressed is not None
    if past.new > 1:
        return scores
    # Behind a forced first token, the first one that is free is the second.
    begin = past.rows.prompt.eq(1) & ("forced_bos_token_id" in plan.changes)
    return processors.without(scores, plan.begin_suppressed & begin.eq(past.new)[:, None])


def _temperature(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    temperature = plan.config.temperature or 1.0
    return scores if temperature == 1 else scores / temperature


def _top_k(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return warpers.top_k(scores, max(plan.config.top_k or 0, plan.kept))


def _top_p(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    top_p = 1.0 if plan.config.top_p is None else plan.config.top_p
    among = max(plan.config.top_k, plan.kept) if plan.config.top_k else None
    return warpers.top_p(scores, top_p, kept=plan.kept, among=among)


def _min_p(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return warpers.min_p(scores, plan.config.min_p or 0.0, kept=plan.kept)


def _typical_p(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return warpers.typical_p(scores, plan.config.typical_p or 1.0, kept=plan.kept)


def _epsilon(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return warpers.epsilon_cutoff(scores, plan.config.epsilon_cutoff or 0.0, kept=plan.kept)


def _eta(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return warpers.eta_cutoff(scores, plan.config.eta_cutoff or 0.0, kept=plan.kept)


def _normalized(scores: Tensor, past: Past, plan: Plan) -> Tensor:
    return functional.log_softmax(scores, dim=-1)


# fmt: off
_CHANGES: Mapping[str, Change] = {
    "sequence_bias":                    _sequence_bias,
    "repetition_penalty":               _repetition_penalty,
    "no_repeat_ngram_size":             _no_repeat_ngram,
    "bad_words_ids":                    _bad_words,
    "min_length":                       _min_length,
    "forced_bos_token_id":              _forced_bos,
    "forced_eos_token_id":              _forced_eos,
    "exponential_decay_length_penalty": _decay,
    "suppress_tokens":                  _suppress,
    "begin_suppress_tokens":            _begin_suppress,
    "temperature":                      _temperature,
    "top_k":                            _top_k,
    "top_p":                            _top_p,
    "min_p":                            _min_p,
    "typical_p":                        _typical_p,
    "epsilon_cutoff":                   _epsilon,
    "eta_cutoff":                       _eta,
    "renormalize_logits":               _normalized,
}
# fmt: on
