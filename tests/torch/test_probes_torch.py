"""Probes of the PyTorch runtime: what torch.compile needs on this machine."""

from __future__ import annotations

import pytest
from tiny_models import made

from automodels.backends import AttentionNeeds, Situation, forget_probes
from automodels.errors import BackendUnavailableError
from torch_heads import (
    BertModel,
)
from torch_runtime import probes


def here(device: str) -> Situation:
    return Situation(framework="torch", device=device, needs=AttentionNeeds())


def test_compiling_for_a_cpu_needs_a_compiler(monkeypatch, tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.delenv("CXX", raising=False)

    monkeypatch.setenv("PATH", str(tmp_path))
    assert probes.compiler(here("cpu")) is None
    monkeypatch.setenv("CXX", "g++ -march=native")
    assert probes.compiler(here("cpu")) is None
    monkeypatch.setenv("CXX", "icpx")
    assert probes.compiler(here("cpu")) == "CXX=icpx is not there"
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "there is no C++ compiler" in probes.compiler(here("cpu"))


def test_compiling_for_a_gpu_needs_triton(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert probes.compiler(here("cuda")) == "triton is not installed"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert probes.compiler(here("cuda")) is None


def test_a_probe_that_fails_is_a_reason(monkeypatch):
    forget_probes()
    monkeypatch.setenv("CXX", "no-such-compiler")
    try:
        with pytest.raises(BackendUnavailableError, match="compile of .*: rejected: CXX=no-such-compiler is not there"):
            made(BertModel).with_backend("compile")
        assert made(BertModel).backend_report.spec == "sdpa+uncompiled"
    finally:
        forget_probes()
