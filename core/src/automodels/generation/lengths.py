"""How long a generated sequence may and must get."""

from __future__ import annotations

from dataclasses import dataclass

from automodels.errors import InputError
from automodels.generation.config import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Bounds of a sequence in tokens, prompt included."""

    prompt: int
    longest: int
    shortest: int
    """Before this length a sequence does not end; at most `longest`."""

    @property
    def new(self) -> int:
        """The most tokens after the prompt."""
        return self.longest - self.prompt


def lengths(config: GenerationConfig, prompt: int, positions: int | None = None) -> Lengths:
    """The lengths that a config means for a prompt of so many tokens, padding not counted.

    `positions` is the longest sequence that the model takes. Raises InputError when the prompt, or what is asked for,
    does not fit.
    """
    if prompt < 1:
        raise InputError("The prompt is empty.", hints=["Pass at least the token that begins a sequence."])
    if positions is not None and prompt >= positions:
        raise InputError(f"The prompt has {prompt} tokens, which leaves no room: the model has {positions} positions.")
    longest = _longest(config, prompt, positions)
    if positions is not None and longest > positions:
        raise InputError(
            f"A prompt of {prompt} tokens and {longest - prompt} new ones make {longest}, but the model has only "
            f"{positions} positions.",
            hints=[f"Pass max_new_tokens={positions - prompt}, or a shorter prompt."],
        )
    shortest = prompt + config.min_new_tokens if config.min_new_tokens is not None else config.min_length or 0
    return Lengths(prompt=prompt, longest=longest, shortest=min(shortest, longest))


def _longest(config: GenerationConfig, prompt: int, positions: int | None) -> int:
    if config.max_new_tokens is not None:
        return prompt + config.max_new_tokens
    if "max_length" not in config.model_fields_set:
        return min(prompt + config.max_length, positions or prompt + config.max_length)
    if prompt >= config.max_length:
        raise InputError(
            f"The prompt has {prompt} tokens, and max_length, which counts them too, is {config.max_length}.",
            hints=["Pass max_new_tokens=…, which does not count the prompt."],
        )
    return config.max_length
