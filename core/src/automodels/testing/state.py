"""What this process remembers of plugins, forgotten: so that no test depends on another."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from automodels import auto, json_config, loading
from automodels.plugins import catalog, host
from automodels.plugins.registration import forget_registrations


def forget_everything(below: Path | None = None) -> None:
    """Registrations, activated plugins, scans and warnings; and modules imported from files below a directory."""
    forget_registrations()
    for memory in (host._active, catalog._scans, loading._warned, auto._auto_classes, json_config._warned):
        memory.clear()
    if below is None:
        return
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{below}{os.sep}"):
            del sys.modules[name]
    importlib.invalidate_caches()


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the variables by which plugins are chosen."""
    for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
        monkeypatch.delenv(name)
