"""Parameter trees: nested dicts by name, paths with dots, and the states of NNX modules.

A tree is spelled as transformers spells its Flax trees: `{"encoder": {"layer": {"0": {…}}}}`; the path of a leaf is
`encoder.layer.0.….kernel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax import nnx

Tree = dict[str, Any]


def parameters_of(module: nnx.Module) -> Tree:
    """The parameters of a live NNX module as a model's tree.

    The way back from training `model.module`: `model.params = parameters_of(module)`.
    """
    from flax import nnx

    return unflatten(flatten(nnx.to_pure_dict(nnx.state(module, nnx.Param))))


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Path → leaf, in the tree's order."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            flat |= flatten(value, path)
        else:
            flat[path] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> Tree:
    """The nested dict with these paths."""
    tree: Tree = {}
    for path, leaf in flat.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def module_state(tree: Mapping[str, Any]) -> dict[Any, Any]:
    """The tree as NNX keys it: the elements of a list by number."""
    return {
        int(key) if key.isdecimal() else key: module_state(value) if isinstance(value, Mapping) else value
        for key, value in tree.items()
    }
