"""Names that Flax gives to what torch calls weights, so that checkpoints with Flax's names fill torch's parameters.

Paths are the same in both; a linear layer's `weight` [out, in] is a `kernel` [in, out], a table's an `embedding`, a
normalisation's a `scale`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap, Layout, pattern_of
from torch_runtime.parameters import held

_WEIGHTS: tuple[tuple[type[nn.Module], str, Layout], ...] = (
    (nn.Linear, "kernel", TRANSPOSED),
    (nn.Embedding, "embedding", SAME),
    (nn.LayerNorm, "scale", SAME),
)


def flax_keymap(model: nn.Module, backbone: str, prefix: str, *, alternates: Sequence[tuple[str, str]] = ()) -> KeyMap:
    """The table between the names of a Flax tree and a model's parameters, both below the backbone or a head's own.

    `alternates` are those of the model's own key map; those that bear the same names in Flax count here too.
    """
    rows: dict[str, tuple[str, Layout]] = {}
    for path, found in held(model).items():
        module, _ = found.places[0]
        parents, _, name = pattern_of(path.removeprefix(f"{backbone}.")).rpartition(".")
        kinds = [(leaf, layout) for kind, leaf, layout in _WEIGHTS if name == "weight" and isinstance(module, kind)]
        leaf, layout = kinds[0] if kinds else (name, SAME)
        rows[f"{parents}.{name}"] = (f"{parents}.{leaf}", layout)
    named = {tensor for tensor, _ in rows.values()}
    known = [(one, other) for one, other in alternates if other in rows and other in named and one not in named]
    table = ((tensor, parameter, layout) for parameter, (tensor, layout) in rows.items())
    return KeyMap(*table, prefix=prefix, alternates=known)
