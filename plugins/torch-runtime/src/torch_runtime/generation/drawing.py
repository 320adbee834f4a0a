"""Random numbers of a call: every row has its own, which do not depend on other rows, on padding, or on the device.

Shapes: R rows, N most new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automodels.errors import InputError
from automodels.runtime.numbers import whole

_SEEDS = 1 << 63


class Draws:
    """Uniform numbers for sampling, noise for beams."""

    def __init__(self, seeds: Sequence[tuple[int, ...]], copies: int, steps: int, device: torch.device) -> None:
        """Each of the `seeds` stands for a prompt, of which there are `copies`."""
        self._streams = [
            np.random.Generator(np.random.Philox(np.random.SeedSequence((*seed, copy))))
            for seed in seeds
            for copy in range(copies)
        ]
        self._steps = steps
        self._device = device
        self._uniform: Tensor | None = None

    def uniform(self, step: int) -> Tensor:
        """[R] numbers from 0 to below 1, in float64, for a step."""
        if self._uniform is None:
            drawn = np.stack([stream.random(self._steps) for stream in self._streams])
            self._uniform = torch.from_numpy(drawn).to(self._device)
        return self._uniform[:, step]

    def gumbel(self, size: int) -> Tensor:
        """[R, size] noise with which the highest scores are a sample (Maddison et al. 2014), for the next step."""
        noise = np.stack([stream.gumbel(size=size) for stream in self._streams])
        return torch.from_numpy(noise).to(self._device)


def seeds_of(generator: Any, seed: int | None, prompts: int) -> list[tuple[int, ...]]:
    """What each prompt's numbers are made from.

    `generator` is torch's, one for all prompts or a list with one for each; without it and a `seed`, torch's own
    numbers are used. Raises InputError for anything else, or for both.
    """
    if seed is not None:
        if generator is not None:
            raise InputError("generator and seed are both given; each says where random numbers come from.")
        return [(abs(whole("seed", seed)), int(whole("seed", seed) < 0), row) for row in range(prompts)]
    if isinstance(generator, list | tuple):
        if len(generator) != prompts:
            raise InputError(
                f"generator has {len(generator)} generators for {prompts} prompts.", hints=["Pass one, or one each."]
            )
        return [(_drawn(one), 0, 0) for one in generator]
    base = _drawn(generator)
    return [(base, 0, row) for row in range(prompts)]


def sampled(scores: Tensor, uniform: Tensor) -> Tensor:
    """[R] a token of each row with its probability, by one uniform number [R] for each."""
    masses = scores.softmax(dim=-1).double().cumsum(dim=-1)
    total = masses[:, -1:]
    # Not the whole mass, or a number just below 1 would fall behind the last token that has a probability.
    place = torch.minimum(uniform[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(masses, place, right=True).squeeze(1).clamp(max=scores.shape[-1] - 1)


def _drawn(generator: Any) -> int:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise InputError(f"generator is a {type(generator).__name__}, not a torch.Generator.")
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(_SEEDS - 1, (), generator=generator, device=device))
