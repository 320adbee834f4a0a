"""AttentionNeeds: what a model asks of an attention function, told by its config."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

LOWERED = {"padding": "mask", "causal": "mask", "window": "mask", "mask": "bias"}
"""What can be said in another way: causality by a mask, and a mask by numbers that are added to scores."""


@dataclass(frozen=True, kw_only=True)
class AttentionNeeds:
    """Features are those of `automodels.plugins.tables.FEATURES`."""

    head_sizes: tuple[int, ...] = ()
    """Numbers in a head, one for each size that the model has."""

    always: frozenset[str] = frozenset()
    """What every call needs."""

    possible: frozenset[str] = frozenset({"mask", "padding"})
    """What a call may need beside that."""

    def with_always(self, *features: str) -> AttentionNeeds:
        """The same, and these in every call."""
        return replace(self, always=self.always | set(features))


def covers(supports: Collection[str], feature: str) -> bool:
    """Whether who supports these features can do with another one, as it is or said in another way."""
    name: str | None = feature
    while name is not None:
        if name in supports:
            return True
        name = LOWERED.get(name)
    return False
