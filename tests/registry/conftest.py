"""A throw-away site directory, and the command run on it: as a process, or in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from automodels.backends import cuda_capability
from automodels.testing.hub import fake_hub  # noqa: F401  # a fixture
from automodels.testing.sites import FakeSite
from automodels_cli.schemas import schema_of

try:
    import jsonschema
except ImportError:
    jsonschema = None  # the tests for PyTorch alone do without it

sys.path.insert(0, str(Path(__file__).parent))  # so that tests share made_wheels

Process = subprocess.CompletedProcess[str]
Registry = Callable[..., Process]

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/accel0", "/sys/module/xe")
OURS = ("COLUMNS", "NO_COLOR", "TERM", "PYTHONPATH")


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    return FakeSite(tmp_path / "site")


@pytest.fixture
def environment(site: FakeSite) -> dict[str, str]:
    """The variables of the process, without those that a developer may have set."""
    kept = {key: value for key, value in os.environ.items() if key not in OURS and not key.startswith("AUTOMODELS_")}
    return {**kept, "PYTHONPATH": str(site.path), "PYTHONUTF8": "1", "TERM": "xterm"}


@pytest.fixture
def registry(environment: dict[str, str], tmp_path: Path) -> Registry:
    """Runs `registry` as a process on the throw-away site, in an empty working directory."""
    here = tmp_path / "here"
    here.mkdir()

    def run(*arguments: str, stdin: str = "", **variables: str) -> Process:
        process = subprocess.run(
            [sys.executable, "-m", "automodels_cli", *arguments],
            input=stdin,
            env=environment | variables,
            cwd=here,
            text=True,
            encoding="utf-8",
            capture_output=True,
            timeout=120,
            check=False,
        )
        if "--json" in arguments:
            _checked(process.stdout)
        return process

    return run


@pytest.fixture
def document_of() -> Callable[[str], Any]:
    """Reads what a command printed with `--json`, and holds it against the schema of its kind."""
    return _checked


def _checked(text: str) -> Any:
    document = json.loads(text)
    assert document["schema"] == 1
    if jsonschema is not None:
        jsonschema.Draft202012Validator(schema_of(document["kind"])).validate(document)
    return document


@pytest.fixture
def here(site: FakeSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """`automodels_cli.main.main` for this process, with the throw-away site on the path."""
    import logging

    from automodels_cli.main import main

    for name in [*OURS, *(key for key in os.environ if key.startswith("AUTOMODELS_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(site.path))
    yield main
    logger = logging.getLogger("automodels")
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, site: FakeSite, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A machine with a CPU, on which jax and torch are installed for CPUs; called, it gets a GPU of this capability."""
    exists, there = os.path.exists, []
    monkeypatch.setattr(os.path, "exists", lambda path: path in there if path in DRIVERS else exists(path))
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, version in (("jax", "77.0"), ("flax", "77.0"), ("torch", "77.0+cpu")):
        site.distribution(name, version)
    cuda_capability.cache_clear()

    def with_gpu(capability: str = "9.0", *distributions: str) -> None:
        there.append("/dev/nvidiactl")
        for name in distributions:
            site.distribution(name)
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho {capability}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)

    yield with_gpu
    cuda_capability.cache_clear()
