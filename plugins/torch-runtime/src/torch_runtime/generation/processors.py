"""Changes of scores that look at what is there already: the tokens so far.

Each is a function of scores [R, V] and what it needs to know. Padding is no history: a row that is padded on the left
gets what its text gets alone. `real` [R, S] says which tokens are no padding, and is None where none is.

Shapes: R rows, S tokens so far, V vocabulary, W words, L tokens of a word but its last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_runtime.generation.plan import Words


def repetition_penalty(scores: Tensor, tokens: Tensor, real: Tensor | None, penalty: float) -> Tensor:
    """Scores of tokens that occurred divided by the penalty, negative ones multiplied.

    Keskar et al. 2019, https://arxiv.org/abs/1909.05858.
    """
    if real is not None:
        tokens = torch.where(real, tokens, tokens[:, -1:])  # the last one is no padding, and occurred
    found = scores.gather(1, tokens)
    return scores.scatter(1, tokens, torch.where(found < 0, found * penalty, found / penalty))


def no_repeat_ngram(scores: Tensor, tokens: Tensor, real: Tensor | None, size: int) -> Tensor:
    """No token that would repeat a run of `size` tokens.

    A run begins at every column; it is repeated where its first `size` - 1 tokens are the last ones.
    """
    columns, vocabulary = tokens.shape[1], scores.shape[1]
    if columns < size:
        return scores
    runs = tokens.unfold(1, size, 1)
    matches = (runs[..., :-1] == tokens[:, None, columns - size + 1 :]).all(dim=-1)
    if real is not None:
        matches &= real.unfold(1, size, 1).all(dim=-1) & real[:, columns - size + 1 :].all(dim=-1, keepdim=True)
    # What does not match goes to a column that is thrown away: no size depends on values, so nothing waits for them.
    following = torch.where(matches, runs[..., -1], vocabulary)
    banned = torch.zeros(len(scores), vocabulary + 1, dtype=torch.bool, device=scores.device)
    return without(scores, banned.scatter_(1, following, value=True)[:, :vocabulary])


def word_bias(scores: Tensor, tokens: Tensor, real: Tensor | None, words: Words) -> Tensor:
    """Scores plus the bias of each word that a token would complete."""
    before, last, bias = words
    width = before.shape[1]
    context = tokens[:, max(tokens.shape[1] - width, 0) :]
    if real is not None:
        context = torch.where(real[:, tokens.shape[1] - context.shape[1] :], context, -2)  # -2 is no token
    context = torch.nn.functional.pad(context, (width - context.shape[1], 0), value=-2)
    matches = ((before < 0)[None] | (context[:, None] == before[None])).all(dim=-1)
    added = torch.where(matches, bias.to(scores.dtype)[None], 0.0)
    return scores.index_add(1, last, added)


def without(scores: Tensor, tokens: Tensor) -> Tensor:
    """No score for the tokens [V] or [R, V]."""
    return scores.masked_fill(tokens, -torch.inf)


def forced(scores: Tensor, tokens: Tensor, when: Tensor) -> Tensor:
    """Score 0 for the tokens [V] and none for all others, in rows where `when` [R] is true."""
    only = torch.zeros_like(scores).masked_fill(~tokens, -torch.inf)
    return torch.where(when[:, None], only, scores)


def decayed(scores: Tensor, ends: Tensor, factor: float) -> Tensor:
    """Scores of the ends [V] raised by their size times `factor` - 1."""
    raised = scores + scores.abs() * (factor - 1)
    return torch.where(ends & scores.isfinite(), raised, scores)
