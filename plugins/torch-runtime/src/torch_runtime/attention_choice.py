"""Which attention function a model computes with, and how its calls run: chosen when it is made, or later."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Self

from torch import nn

from automodels.backends import BackendReport
from automodels.errors import InputError
from automodels.plugins.host import load_reference
from torch_runtime.attend import Attend
from torch_runtime.devices import backend_here
from torch_runtime.execution import ExecutionFunction
from torch_runtime.facts import ModelFacts


class AttentionChoice(ModelFacts):
    """A model whose attention modules hold what they call, `attend`."""

    backend_report: BackendReport
    attend: Attend
    load_report: Any
    adapters: Mapping[str, Any]
    _execution: ExecutionFunction | None = None
    """What arranged how calls run; None in a part of another model."""

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Computes with another backend from now on: "eager", "sdpa", "flash", "flex", a plugin's own, or "auto".

        How calls run stays, unless that is named too, as in "flex+compile". Raises BackendUnavailableError, with every
        reason, when it cannot run here; then nothing is changed.
        """
        if not isinstance(attn_implementation, str):
            raise InputError(f"attn_implementation is {attn_implementation!r}, not a backend's name.")
        now = self.backend_report.execution
        ways = {found.table.name for found in self.backend_report.candidates if found.table.kind == "execution"}
        if now is not None and not ways & set(attn_implementation.split("+")):
            attn_implementation = f"{attn_implementation}+{now.table.name}"
        self._take(backend_here(attn_implementation, self.config, self.dtype, self.device))

    def with_backend(self, backend: str) -> Self:
        """The same model with another backend, chosen as at loading; this one stays as it is.

        Parameters and buffers are those of this model, adapters' too, and not copies: what is trained in one changes
        the other. What puts new ones in their places, such as merging an adapter, changes one model alone. The config
        is a copy. Raises BackendUnavailableError; InputError for a model on several devices or on disk.
        """
        if self.device_map is not None:
            raise InputError(
                f"{type(self).__name__} is on several devices or on disk, so no other model can share its parameters.",
                hints=["set_attn_implementation() changes the model itself; or load it again with backend=."],
            )
        report = backend_here(backend, self.config, self.dtype, self.device)
        assert isinstance(self, nn.Module)
        model = copy.deepcopy(self, {id(shared): shared for shared in self._shared()})
        if model.load_report is not None:
            model.load_report = dataclasses.replace(model.load_report, backend=report)
        model._take(report)
        return model

    def _shared(self) -> list[Any]:
        """What a copy of the model has in common with it."""
        assert isinstance(self, nn.Module)
        adapters = self.adapters.values()
        kept = (kept.values() for adapter in adapters for kept in (adapter.others, adapter.originals))
        reports = (self.load_report, self.backend_report)
        return [*self.parameters(), *self.buffers(), *itertools.chain.from_iterable(kept), *reports]

    def _take(self, report: BackendReport) -> None:
        """Computes with a chosen backend, and runs as it says, from now on."""
        execution = execution_of(report)
        self._compute_with(report)
        self._run_by(execution)

    def _compute_with(self, report: BackendReport) -> None:
        attend = Attend.of(report)
        assert isinstance(self, nn.Module)
        for part in self.modules():
            if isinstance(part, AttentionChoice):
                part.backend_report = report
            if "attend" in part.__dict__:
                found: Any = part
                found.attend = attend

    def _run_by(self, execution: ExecutionFunction | None) -> None:
        """Has calls of this model run in a way."""
        self._execution = execution
        if execution is not None:
            assert isinstance(self, nn.Module)
            execution(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What torch compiles is neither pickled nor copied; it is arranged anew.
        super().__setstate__(state)  # type: ignore[misc]  # a module's
        if self._execution is not None:
            self._run_by(self._execution)


def execution_of(report: BackendReport) -> ExecutionFunction | None:
    """What has a model's calls run in the chosen way; None where no plugin declares one."""
    if report.execution is None:
        return None
    found: ExecutionFunction = load_reference(report.execution.table.implementation, report.execution.plugin)
    return found


def asked_backend(backend: str, attn_implementation: str | None) -> str:
    """The backend that is asked for under either name; raises InputError when they name two."""
    if attn_implementation is None:
        return backend
    if backend not in ("auto", attn_implementation):
        raise InputError(
            f"backend is {backend!r} and attn_implementation is {attn_implementation!r}.",
            hints=["They mean the same: pass one of them."],
        )
    return attn_implementation
