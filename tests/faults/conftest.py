"""Saves that go wrong: what is left is the old checkpoint or the new one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from automodels.checkpoint.config_file import read_config
from automodels.checkpoint.reader import Checkpoint


@pytest.fixture(scope="session")
def killing() -> ModuleType:
    """The program beside this file, as a module: what it saves is known by it."""
    spec = importlib.util.spec_from_file_location("killing", Path(__file__).parent / "killing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def edition(killing: ModuleType) -> Callable[[Path], int]:
    """Which save a directory holds, the config and every array bit for bit; fails when it is a mixture."""
    editions = {number: killing.tensors(number) for number in range(1, 6)}

    def read(directory: Path) -> int:
        number = read_config(directory)["edition"]
        found = Checkpoint.open(directory)
        wanted = editions[number]
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name].numpy(), array) for name, array in wanted.items())
        return number

    return read


def leftovers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".")]


@pytest.fixture
def without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no machine dies, waiting for the disk proves nothing."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
