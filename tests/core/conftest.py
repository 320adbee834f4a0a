"""Fixtures for tests of the core: a throw-away site directory, a clean environment, checkpoints."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from automodels import auto, json_config, loading
from automodels.plugins import catalog, host
from automodels.plugins.registration import forget_registrations
from automodels.testing.hub import fake_hub  # noqa: F401  # a fixture
from automodels.testing.sites import FakeSite


@pytest.fixture(autouse=True)
def clean_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the outside decides, and nothing of one test is left for the next."""
    for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "work"
    home.mkdir()
    monkeypatch.chdir(home)
    _forget()
    yield
    _forget()
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


def _forget() -> None:
    forget_registrations()
    host._active.clear()
    catalog._scans.clear()
    loading._warned.clear()
    auto._auto_classes.clear()
    json_config._warned.clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    """A directory like site-packages, the first one on `sys.path`."""
    site = FakeSite(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(str(site.path))
    return site


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a directory with a `config.json` of model type `toy` and the given keys; returns its path."""

    def write(**keys: Any) -> Path:
        directory = tmp_path / "checkpoint"
        directory.mkdir(exist_ok=True)
        (directory / "config.json").write_text(json.dumps({"model_type": "toy", **keys}))
        return directory

    return write


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What automodels logs, from INFO upwards."""
    caplog.set_level(logging.INFO, logger="automodels")
    return caplog
