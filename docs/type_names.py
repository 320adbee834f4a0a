"""A Sphinx extension: which types of annotations lead nowhere, and why that is right."""

from __future__ import annotations

from typing import Any

WITHOUT_INVENTORY = {
    "builtins": "Python's documentation is not asked for, because a build needs no network",
    "collections": "the same",
    "contextlib": "the same",
    "os": "the same",
    "pathlib": "the same",
    "types": "the same",
    "typing": "the same",
    "enum": "the same",
    "flax": "its inventory is on the network",
    "jax": "the same",
    "jaxlib": "the same",
    "jaxtyping": "it has no inventory",
    "numpy": "its inventory is on the network",
    "pydantic": "the same",
    "pytest": "the same",
    "torch": "the same",
}
"""Package → why nothing of it can be linked."""

UNLINKED = {
    name: why
    for why, names in {
        "an alias that stands in annotations as it is written; the field's text says what it holds": (
            "AttentionType Biases Count Cutoff Number Share Snapshot TokenIds TokenizerSettings Tree Backend "
            "torch_runtime.generation.methods.Streamer"
        ),
        "a foreign name that stands in annotations as it is written": (
            "Field Path nnx.Module PluginManager PluginManager.register _pytest.monkeypatch.MonkeyPatch "
            "_pytest.tmpdir.TempPathFactory"
        ),
        "a type of ours that callers are given and need not name; the plugin API does not promise it": (
            "automodels.checkpoint.formats.Naming automodels.checkpoint.plan.Plan automodels.checkpoint.push.Pushed "
            "automodels.checkpoint.sources.SourceTensor automodels.checkpoint.tensors.WeightFile "
            "automodels.families.sentence_transformers.SentenceEmbeddingSettings automodels.plugins.settings.Settings "
            "automodels.testing.hub_repository.FakeRepository automodels.text.stream.TextStream "
            "flax_runtime.attend.Attend torch_runtime.pruning.CountsHeads torch_runtime.sharded.IncompatibleKeys"
        ),
    }.items()
    for name in names.split()
}
"""Exact name → why it is not linked."""


def plain(_app: Any, _environment: Any, node: Any, shown: Any) -> Any:
    """Text in place of a link, for a type of somebody else's."""
    target = node.get("reftarget", "")
    if node.get("refdomain") == "py" and (target in UNLINKED or target.partition(".")[0] in WITHOUT_INVENTORY):
        return shown
    return None


def setup(app: Any) -> dict[str, bool]:
    app.connect("missing-reference", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
