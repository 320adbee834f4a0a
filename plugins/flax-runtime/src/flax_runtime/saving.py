"""Saving: the parameters of a model as tensors of a checkpoint, under the Hub's names or those of the Flax tree.

Arrays leave the device one at a time, as the writer asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

from automodels.checkpoint.keymap import TRANSPOSED, KeyMap, Layout
from automodels.checkpoint.sources import LazyTensor
from automodels.errors import InputError, listed

Naming = Literal["hub", "flax"]


def tensors_of(
    flat: Mapping[str, jax.Array], keymap: KeyMap, *, backbone: str = "", naming: Naming = "hub"
) -> dict[str, LazyTensor]:
    """Tensor name → tensor, for parameters by path (dots).

    "flax" names a tensor as its path; "hub" as the key map says, with the backbone's prefix where the model has a head.
    Raises InputError when the key map lacks a parameter.
    """
    if naming == "flax":
        return {path: _lazy(leaf, None) for path, leaf in flat.items()}
    named = {path: _hub_name(path, keymap, backbone) for path in flat}
    lost = [path for path, found in named.items() if found is None]
    if lost:
        raise InputError(
            f"The key map has no tensor for {listed(lost, limit=4)}.", hints=['Save with naming="flax" instead.']
        )
    return {found[0]: _lazy(flat[path], found[1]) for path, found in named.items() if found is not None}


def _hub_name(path: str, keymap: KeyMap, backbone: str) -> tuple[str, Layout] | None:
    inside = bool(backbone) and path.startswith(f"{backbone}.")
    found = keymap.tensor(path.removeprefix(f"{backbone}.") if inside else path)
    return (keymap.prefix + found[0], found[1]) if found is not None and inside else found


def _lazy(leaf: jax.Array, layout: Layout | None) -> LazyTensor:
    shape = leaf.shape[::-1] if layout is TRANSPOSED else leaf.shape

    def read() -> np.ndarray[Any, Any]:
        array = np.asarray(leaf)
        return np.ascontiguousarray(array.T) if layout is TRANSPOSED else array

    return LazyTensor(dtype=np.dtype(leaf.dtype), shape=shape, read=read)
