"""Which memory of this process is a mapped file: Linux says it in /proc/self/maps (see proc(5))."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

Ranges = Sequence[tuple[int, int]]
"""First address and the one behind the last."""


def mapped_ranges(directory: Path) -> Ranges | None:
    """Where files of a directory are mapped; None on a system that does not say."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    inside = f"{directory.resolve()}/"
    fields = [line.split(maxsplit=5) for line in lines]  # range, rights, offset, device, inode, path
    ranges = [found[0].split("-") for found in fields if len(found) == 6 and found[5].startswith(inside)]
    return [(int(low, 16), int(high, 16)) for low, high in ranges]


def is_mapped(tensor: torch.Tensor, ranges: Ranges) -> bool:
    """Whether a tensor lies in one of the ranges."""
    return any(low <= tensor.data_ptr() < high for low, high in ranges)
