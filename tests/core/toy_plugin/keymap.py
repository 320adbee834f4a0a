"""The toy's key map."""

from automodels.checkpoint.keymap import SAME, TRANSPOSED, KeyMap

KEYMAP = KeyMap(
    ("words.weight", "words.table", SAME),
    ("positions.weight", "positions.table", SAME),
    ("layer.{i}.dense.weight", "layer.{i}.dense.kernel", TRANSPOSED),
    ("layer.{i}.dense.bias", "layer.{i}.dense.bias", SAME),
    ("labels.weight", "labels.kernel", TRANSPOSED),
    prefix="toy.",
)
