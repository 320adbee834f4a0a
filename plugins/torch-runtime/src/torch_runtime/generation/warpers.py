"""Changes of scores for sampling: which tokens it is among, and how even their probabilities are.

Each is a function of scores [R, V] alone; tokens that are left out get -inf. `kept` tokens are left at least.

Shapes: R rows, V vocabulary, C the highest scores of a row.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def top_k(scores: Tensor, k: int) -> Tensor:
    """Among the `k` highest scores, and those that equal the last of them."""
    least = scores.topk(min(k, scores.shape[-1]), sorted=True).values[:, -1:]
    return scores.masked_fill(scores < least, -torch.inf)


def top_p(scores: Tensor, p: float, *, kept: int, among: int | None = None) -> Tensor:
    """Among the fewest tokens whose probability together reaches `p`, the most probable first.

    `among` so many highest scores, where the others are known to be left out already. Holtzman et al. 2019,
    https://arxiv.org/abs/1904.09751.
    """
    count = scores.shape[-1] if among is None else min(among, scores.shape[-1])
    highest = scores.topk(count, sorted=True).values
    probabilities = highest.softmax(dim=-1)
    above = probabilities.cumsum(dim=-1) - probabilities
    last = (above < p).sum(dim=-1, keepdim=True).clamp(min=kept) - 1
    return scores.masked_fill(scores < highest.gather(1, last), -torch.inf)


def min_p(scores: Tensor, share: float, *, kept: int) -> Tensor:
    """Among tokens with at least that share of the most probable one's probability.

    Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.
    """
    probabilities = scores.softmax(dim=-1)
    return _without(scores, probabilities < share * probabilities.amax(dim=-1, keepdim=True), kept=kept)


def typical_p(scores: Tensor, mass: float, *, kept: int) -> Tensor:
    """Among the tokens of about the expected information that have this probability together.

    Meister et al. 2022, https://arxiv.org/abs/2202.00666.
    """
    information = -functional.log_softmax(scores, dim=-1)
    probabilities = (-information).exp()
    expected = torch.where(probabilities > 0, information * probabilities, 0.0).sum(dim=-1, keepdim=True)
    distance = (information - expected).abs()
    nearest, order = distance.sort(dim=-1, stable=True)
    count = (probabilities.gather(1, order).cumsum(dim=-1) < mass).sum(dim=-1, keepdim=True)
    last = count.clamp(kept - 1, scores.shape[-1] - 1)
    return scores.masked_fill(distance > nearest.gather(1, last), -torch.inf)


def epsilon_cutoff(scores: Tensor, epsilon: float, *, kept: int) -> Tensor:
    """Among tokens of at least this probability (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""
    return _without(scores, scores.softmax(dim=-1) < epsilon, kept=kept)


def eta_cutoff(scores: Tensor, epsilon: float, *, kept: int) -> Tensor:
    """Among tokens of at least the probability min(ε, √ε · exp(-entropy)) (Hewitt et al. 2022)."""
    logarithms = functional.log_softmax(scores, dim=-1)
    probabilities = logarithms.exp()
    entropy = -torch.where(probabilities > 0, logarithms * probabilities, 0.0).sum(dim=-1, keepdim=True)
    eta = (math.sqrt(epsilon) * (-entropy).exp()).clamp(max=epsilon)
    return _without(scores, probabilities < eta, kept=kept)


def _without(scores: Tensor, improbable: Tensor, *, kept: int) -> Tensor:
    least = scores.topk(kept, sorted=True).values[:, -1:]
    return scores.masked_fill(improbable & (scores < least), -torch.inf)
