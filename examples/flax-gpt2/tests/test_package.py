"""The package is one that can be published: `registry check` finds no problem with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from automodels_cli.main import main

PROJECT = Path(__file__).parents[1]


def test_the_package_can_be_published(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", str(PROJECT), "--imports"])

    assert code == 0, capsys.readouterr().out
