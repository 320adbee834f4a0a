"""Which files of a model on the Hub a reader needs: of several formats of the same weights only one is downloaded."""

from __future__ import annotations

from automodels.checkpoint.formats import FORMATS, checked_variant, wanted
from automodels.checkpoint.index import read_index
from automodels.checkpoint.locate import Location
from automodels.errors import CheckpointNotFoundError, listed


def fetch_weights(
    location: Location,
    *,
    variant: str | None = None,
    use_safetensors: bool | None = None,
    from_pt: bool = False,
    from_flax: bool = False,
) -> None:
    """Sees to it that the weights are there that `Checkpoint.open` chooses; does nothing but for the Hub.

    Raises HubError, CheckpointNotFoundError when the model has no such weights, and what reading an index raises.
    """
    if location.snapshot is None:
        return
    variant = checked_variant(variant)
    names = set(location.names())
    for form in wanted(use_safetensors=use_safetensors, from_pt=from_pt, from_flax=from_flax).formats:
        if form.single(variant) in names:
            location.need(form.single(variant))
            return
        for index in form.indexes(variant):
            if index in names:
                location.need(index)
                location.need(*sorted(set(read_index(location.directory / index, form.suffix).values())))
                return
    others = sorted(name for name in names if name.endswith((*(form.suffix for form in FORMATS), ".h5", ".gguf")))
    raise CheckpointNotFoundError(
        f"{location.snapshot} on the Hub has no weights of the kind that is asked for; it has "
        f"{listed(others, limit=6) or 'none at all'}.",
        hints=["Look at variant, use_safetensors, from_pt and from_flax."] if others else [],
    )
