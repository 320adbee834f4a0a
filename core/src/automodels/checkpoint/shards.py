"""Which tensor goes into which file: decided from names and sizes alone, before anything is read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from automodels.errors import InputError, listed
from automodels.plugins.scan import shown

DEFAULT_SHARD_SIZE = "5GB"

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """Which tensors each shard holds, by name, in natural order."""

    shards: tuple[tuple[str, ...], ...]
    nbytes: tuple[int, ...]
    """Bytes of tensors in each shard."""

    @property
    def total_size(self) -> int:
        """Bytes of all tensors."""
        return sum(self.nbytes)


def plan_shards(tensors: Iterable[tuple[str, int, Hashable | None]], max_shard_size: int | str) -> ShardPlan:
    """Splits tensors, given as (name, bytes, storage or None), into shards of at most `max_shard_size` bytes of data.

    Names decide the order, numbers in them compared as numbers. Tensors of one storage stay together; what is larger
    than a shard gets one of its own, and the next tensors still join the shard before it. The same tensors in whatever
    order give the same plan. No tensors at all make one empty shard. Raises InputError for a name that stands there
    twice or an impossible size.
    """
    limit = parse_size(max_shard_size)
    entries = sorted(tensors, key=lambda tensor: natural(tensor[0]))
    twice = [name for (name, *_), (following, *_) in itertools.pairwise(entries) if name == following]
    if twice:
        raise InputError(f"{len(twice)} tensors have the name of another one: {listed(map(shown, twice), limit=4)}.")
    shards: list[list[str]] = []
    sizes: list[int] = []
    current = -1  # the shard that is being filled
    for names, nbytes in _groups(entries):
        if current < 0 or sizes[current] + nbytes > limit:
            shards.append([])
            sizes.append(0)
            if nbytes <= limit or current < 0:
                current = len(shards) - 1
            target = len(shards) - 1
        else:
            target = current
        shards[target] += names
        sizes[target] += nbytes
    ordered = [tuple(sorted(shard, key=natural)) for shard in shards]
    return ShardPlan(shards=tuple(ordered) or ((),), nbytes=tuple(sizes) or (0,))


def _groups(entries: list[tuple[str, int, Hashable | None]]) -> Iterable[tuple[list[str], int]]:
    """Names that must stay together, at the place of the first of them, and their bytes."""
    groups: dict[Hashable, tuple[list[str], int]] = {}
    for name, nbytes, storage in entries:
        key = ("alone", name) if storage is None else ("storage", storage)
        names, size = groups.get(key, ([], 0))
        groups[key] = ([*names, name], size + nbytes)
    return groups.values()


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `layer.2` before `layer.10`, and is different for different names."""
    parts = _DIGITS.split(name)
    key = tuple((int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts))
    return (*key, (-2, name))  # `layer.01` and `layer.1` are equal so far


def parse_size(size: int | str) -> int:
    """Bytes: an int as it is, "5GB" as powers of 1000, "200MiB" as powers of 1024. Raises InputError."""
    if isinstance(size, int) and not isinstance(size, bool):
        nbytes = size
    else:
        found = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
        unit = _UNITS.get(found[2].upper()) if found else None
        if found is None or unit is None:
            raise InputError(
                f"{shown(size)} is no size.",
                hints=['Give bytes as an int, or a text such as "5GB" (powers of 1000) or "200MiB" (powers of 1024).'],
            )
        whole, _, fraction = found[1].partition(".")
        nbytes = int(whole) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
    if nbytes <= 0:
        raise InputError(f"A shard of {shown(size)} holds nothing; a size is above 0.")
    return nbytes
