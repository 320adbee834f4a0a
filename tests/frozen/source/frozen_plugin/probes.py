"""Why a backend of this plugin cannot run."""

from __future__ import annotations

from automodels.backends import Situation


def small_heads(situation: Situation) -> str | None:
    sizes = () if situation.needs is None else situation.needs.head_sizes
    if max(sizes, default=0) > 64:
        return f"has no heads of {max(sizes)} numbers ({situation.framework} on {situation.device})"
    return None
