"""Plugins of this repository get no other API than anybody's; and what is deprecated says so as the page says."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plugin_api"))

import signatures

OWN = {  # beyond the promise, for plugins that are pinned to the version of what they import
    "automodels.families": "spellings of tensors of published families",
    "automodels.runtime": "what is the same for both frameworks, such as sentence embedding",
    "automodels.checkpoint.sources": "LazyTensor, of sentence embedding in PyTorch",
    "automodels.plugins.catalog": "heads on any backbone look for the backbone",
    "automodels.plugins.host": "the same",
    "automodels.plugins.resolve": "the same",
    "flax_runtime.outputs": "names of types in annotations",
    "torch_runtime.outputs": "the same",
    "torch_runtime.training_methods": "a name for a type checker",
}
MESSAGE = re.compile(r"\S+ is deprecated since plugin API \d+\.\d+ and goes in \d+\.0; use \S+")


def imported_of_ours(source):
    """Dotted names that a module takes from the core and the runtimes."""
    for node in source.nodes():
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in signatures.OURS[:3]:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def deprecations(source):
    """The messages of `@deprecated`."""
    for node in source.nodes():
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "deprecated":
            yield ast.literal_eval(node.args[0])


def test_models_of_ours_stand_on_the_promised_names(modules):
    promised = {name.replace(":", ".") for part in signatures.PARTS for name in signatures.promised(part)}
    plugins = [f"plugins/{name}/src" for name in ("flax-bert", "flax-opt", "flax-gptneo", "torch-heads")]

    beyond = {name for source in modules(*plugins) for name in imported_of_ours(source)} - promised

    assert [name for name in sorted(beyond) if not name.startswith(tuple(OWN))] == []
    assert [module for module in OWN if not any(name.startswith(module) for name in beyond)] == []


def test_deprecations_say_since_when_until_when_and_what_instead(repository, modules):
    page = (repository / "docs/plugin-api.md").read_text()

    shown = re.findall(r'^@deprecated\("(.*)"\)$', page, re.MULTILINE)
    used = [text for source in modules("core/src", "registry/src", "plugins") for text in deprecations(source)]

    assert shown
    for text in [*shown, *used]:
        assert MESSAGE.fullmatch(text), text
