"""Installs the frozen wheel as an installer does: unpacked onto a directory that is then on `sys.path`."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WHEEL = HERE / "frozen_plugin_1_0-1.0-py3-none-any.whl"
SOURCE = HERE / "source"
SHA256 = "131addf4dbfd8c40796a59beec76d2155a189d1944e0e3cb35f97eedd6b9d1a6"


@contextmanager
def installed(directory: Path) -> Iterator[Path]:
    """The frozen plugin on `sys.path`, and gone again afterwards; gives the directory that it lies in."""
    assert hashlib.sha256(WHEEL.read_bytes()).hexdigest() == SHA256
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
            patch.delenv(name)
        yield directory
    for name in [name for name in sys.modules if name.partition(".")[0] == "frozen_plugin"]:
        del sys.modules[name]
