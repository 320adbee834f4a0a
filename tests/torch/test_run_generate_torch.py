"""`registry run generate` with a model in PyTorch: the one in examples/tiny-lm."""

from __future__ import annotations

from pathlib import Path

import pytest

from automodels_cli.main import main

TINY_LM = str(Path(__file__).parents[2] / "examples" / "tiny-lm")
PROMPT = "The return value is"


@pytest.fixture(autouse=True)
def in_torch(monkeypatch):
    """Where Flax is installed too, PyTorch is taken."""
    monkeypatch.setenv("AUTOMODELS_PIN_GPT_NEO", "torch-heads")


def written(capsys, *arguments: str) -> str:
    assert main(["run", "generate", TINY_LM, *arguments, "--max-new-tokens", "8", PROMPT]) == 0
    text: str = capsys.readouterr().out
    return text


def test_the_seed_says_what_is_drawn(capsys):
    first = written(capsys, "--sample", "--seed", "1")

    assert first.startswith(PROMPT)
    assert first == written(capsys, "--sample", "--seed", "1")
    assert first != written(capsys, "--sample", "--seed", "2")


def test_beams_come_at_the_end(capsys):
    text = written(capsys, "--greedy", "--num-beams", "2")

    assert text.startswith(PROMPT)
    assert len(text) > len(PROMPT) + 8
