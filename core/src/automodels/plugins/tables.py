"""What a manifest's tables say, as values; `manifest` reads them. The reference is docs/manifest.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ATTENTION, EXECUTION = BACKEND_KINDS = ("attention", "execution")
FEATURES = ("mask", "padding", "causal", "window", "bias", "dropout", "weights")
"""What an attention function may be able to do: hide any keys from any queries, hide a text's padding, hide later
tokens, hide those before a window, add numbers to scores, drop weights in training, compute what `weights` shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelTable:
    """A `[[model]]` table: one model type in one framework."""

    model_type: str
    framework: str
    config: str
    """Reference of the config class."""

    tasks: Mapping[str, str]
    """Task → reference of the model class."""

    requires: tuple[str, ...] = ()
    """PEP 508 requirements beyond the distribution's own."""

    architectures: tuple[str, ...] = ()
    keymap: str | None = None
    """Reference of the KeyMap between published tensor names and parameters; its module imports no framework."""

    example: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the config that make a tiny model, for `registry check --run` and the conformance suite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BackendTable:
    """A `[[backend]]` table: a way of computing attention, or of executing a model, and where it can run."""

    name: str
    framework: str
    implementation: str
    """Reference of the function."""

    kind: str = ATTENTION
    """`attention`: an attention function. `execution`: how a model's calls run, compiled or not."""

    summary: str = ""
    devices: tuple[str, ...] = ("cpu", "cuda", "tpu")
    dtypes: tuple[str, ...] = ()
    """Computation dtypes it supports; empty means all."""

    min_capability: int = 0
    """Least CUDA compute capability, times ten (80 for 8.0)."""

    supports: tuple[str, ...] = ("mask", "bias", "dropout")
    """What it can do, of FEATURES. Padding, causality and windows reach one that supports masks as a mask."""

    max_head_size: int = 0
    """Numbers in the largest head; 0 means any."""

    head_size_multiple: int = 1
    """What the numbers in a head are a multiple of."""

    min_queries: int = 1
    """Calls of fewer query tokens are computed by the plain formula: kernels for prompts are slow at single tokens."""

    priority: int = 100
    """The highest one that qualifies is taken."""

    requires: tuple[str, ...] = ()
    probe: str | None = None
    """Reference of a function that says why it cannot run in a `Situation`, or None."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskTable:
    """A `[[task]]` table: a task that the core does not know, and the auto class for it."""

    name: str
    auto_class: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceTable:
    """A `[[source]]` table: a scheme that the plugin's hook `locate_checkpoint` answers for."""

    scheme: str
    summary: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """Everything that a plugin offers."""

    name: str
    api: str
    """PEP 440 range of plugin API versions."""

    summary: str = ""
    hooks: str | None = None
    """Module with pluggy hook implementations."""

    models: tuple[ModelTable, ...] = ()
    backends: tuple[BackendTable, ...] = ()
    tasks: tuple[TaskTable, ...] = ()
    sources: tuple[SourceTable, ...] = ()

    @property
    def offers(self) -> bool:
        """Whether there is anything that the plugin offers."""
        return bool(self.models or self.backends or self.tasks or self.sources)
