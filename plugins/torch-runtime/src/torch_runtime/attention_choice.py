"""Which attention function a model computes with: chosen when it is made, or another one afterwards."""

from __future__ import annotations

from typing import Any

from torch import nn

from automodels.backends import BackendReport
from automodels.errors import InputError
from automodels.plugins.host import load_reference
from torch_runtime.attention import AttentionFunction
from torch_runtime.devices import backend_here
from torch_runtime.facts import ModelFacts


class AttentionChoice(ModelFacts):
    """A model whose attention modules hold an attention function, `attend`."""

    backend_report: BackendReport
    attend: AttentionFunction

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Computes with another backend from now on: "eager", "sdpa", "flash", "flex", a plugin's own, or "auto".

        Raises BackendUnavailableError, with every reason, when it cannot run here; then nothing is changed.
        """
        if not isinstance(attn_implementation, str):
            raise InputError(f"attn_implementation is {attn_implementation!r}, not a backend's name.")
        report = backend_here(attn_implementation, self.dtype, self.device)
        attend = attention_function(report)
        assert isinstance(self, nn.Module)
        for part in self.modules():
            if isinstance(part, AttentionChoice):
                part.backend_report = report
            if "attend" in part.__dict__:
                found: Any = part
                found.attend = attend


def attention_function(report: BackendReport) -> AttentionFunction:
    """The function of a chosen backend."""
    function: AttentionFunction = load_reference(report.chosen.table.implementation, report.chosen.plugin)
    return function


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
