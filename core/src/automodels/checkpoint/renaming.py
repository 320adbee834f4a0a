"""Tensors of a checkpoint under the other names: the Hub's ↔ those of a Flax tree, by the key map of the model type."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from automodels.checkpoint.formats import Naming
from automodels.checkpoint.keymap import TRANSPOSED, KeyMap, Layout
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.tensors import TensorView
from automodels.errors import AmbiguousModelError, CheckpointFormatError, InputError, PluginReferenceError, listed
from automodels.plugins.catalog import Catalog, load_catalog
from automodels.plugins.entries import Plugin
from automodels.plugins.host import load_reference


@dataclass(frozen=True, kw_only=True)
class Renamed:
    """Tensors by their new names."""

    tensors: Mapping[str, LazyTensor]
    origins: Mapping[str, str]
    """New name → name in the source."""

    left_out: tuple[str, ...] = ()
    """Buffers that old versions saved and that are no parameters."""


def renamed(views: Mapping[str, TensorView], keymap: KeyMap | None, naming: Naming) -> Renamed:
    """The tensors with the names of `naming`, which they do not bear yet; as they are without a key map.

    A backbone's prefix stays where it is. Raises InputError when the key map lacks a tensor, CheckpointFormatError when
    two tensors get one name.
    """
    if keymap is None:
        tensors = {name: LazyTensor(view.dtype, view.shape, view.numpy) for name, view in views.items()}
        return Renamed(tensors=tensors, origins={name: name for name in tensors})
    rename = _to_flax if naming is Naming.FLAX else _to_hub
    found = {name: rename(name, keymap) for name in views}
    left_out = [name for name, new in found.items() if new is None and keymap.is_buffer(name)]
    unknown = [name for name, new in found.items() if new is None and name not in left_out]
    if unknown:
        raise InputError(
            f"The key map has no row for {len(unknown)} of {len(views)} tensors: {listed(unknown, limit=4)}.",
            hints=["Keep the names as they are: leave out naming, and take safetensors as the format."],
            trace=unknown,
        )
    origins: dict[str, str] = {}
    tensors = {}
    for name, new in found.items():
        if new is None:
            continue
        if new[0] in origins:
            raise CheckpointFormatError(f"{origins[new[0]]} and {name} are two spellings of one tensor ({new[0]}).")
        origins[new[0]] = name
        tensors[new[0]] = _laid_out(views[name], new[1])
    return Renamed(tensors=tensors, origins=origins, left_out=tuple(left_out))


def _to_flax(name: str, keymap: KeyMap) -> tuple[str, Layout] | None:
    found = keymap.parameter(name)
    return (f"{keymap.prefix}{found[0]}", found[1]) if found is not None and _has_prefix(name, keymap) else found


def _has_prefix(name: str, keymap: KeyMap) -> bool:
    """Whether the backbone's prefix stands in a name, behind whatever wrappers."""
    part = f".{keymap.prefix}"
    return bool(keymap.prefix) and f".{name}".count(part) > f".{keymap.canonical(name)}".count(part)


def _to_hub(path: str, keymap: KeyMap) -> tuple[str, Layout] | None:
    inside = bool(keymap.prefix) and path.startswith(keymap.prefix)
    found = keymap.tensor(path.removeprefix(keymap.prefix) if inside else path)
    return (f"{keymap.prefix}{found[0]}", found[1]) if found is not None and inside else found


def _laid_out(view: TensorView, layout: Layout) -> LazyTensor:
    if layout is not TRANSPOSED:
        return LazyTensor(view.dtype, view.shape, view.numpy)
    return LazyTensor(view.dtype, view.shape[::-1], functools.partial(_transposed, view))


def _transposed(view: TensorView) -> np.ndarray[Any, Any]:
    return view.numpy().T


def keymap_for(model_type: str, catalog: Catalog | None = None) -> KeyMap:
    """The key map that the installed plugins declare for a model type in Flax; its module is imported, no framework.

    Raises InputError when no usable plugin declares one, AmbiguousModelError when several declare different ones and no
    pin decides, PluginImportError or PluginReferenceError when it is not what it should be.
    """
    catalog = load_catalog() if catalog is None else catalog
    found: dict[str, Plugin] = {}
    pin = catalog.settings.pin(model_type)
    for plugin in catalog.plugins:
        if plugin.state != "ok" or plugin.manifest is None or (pin is not None and plugin.name != pin.plugin):
            continue
        for table in plugin.manifest.models:
            if table.model_type == model_type and table.framework == "flax" and table.keymap:
                found.setdefault(table.keymap, plugin)
    if not found:
        raise InputError(
            f"Other names need a key map, and no installed plugin declares one for {model_type!r} in Flax.",
            hints=["Keep the names as they are, or pass keymap=…", f"Look at: registry list {model_type}"],
        )
    if len(found) > 1:
        lines = [f"{len(found)} plugins declare a key map for {model_type!r}:", *(f"    {it}" for it in found.values())]
        first = next(iter(found.values())).name
        raise AmbiguousModelError("\n".join(lines), hints=[f'Choose one: automodels.pin("{model_type}", "{first}")'])
    [(reference, plugin)] = found.items()
    keymap = load_reference(reference, plugin)
    if not isinstance(keymap, KeyMap):
        raise PluginReferenceError(f"The manifest of {plugin} names {reference} as a key map; it is none.")
    return keymap
