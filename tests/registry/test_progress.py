"""The bar on stderr: on a terminal only, and gone when the work is done."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import numpy as np
import pytest

from automodels.checkpoint.writer import save_tensors
from automodels_cli import progress
from automodels_cli.progress import Bar, size


@pytest.fixture
def checkpoint(tmp_path):
    save_tensors(tmp_path / "c", {"a": np.ones(4)}, files={"config.json": b'{"model_type": "toy"}'})
    return str(tmp_path / "c")


def stderr_in_terminal(environment, *arguments):
    ours, theirs = pty.openpty()
    code = "import sys, automodels_cli.progress as p, automodels_cli.main as m; p.EVERY = 0; sys.exit(m.main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return b"".join(parts).decode()


def test_a_terminal_gets_a_bar_that_is_taken_away(environment, checkpoint):
    shown = stderr_in_terminal(environment, "verify", checkpoint, "--finite")

    assert "verifying" in shown
    assert "100%" in shown
    assert shown.endswith("\r\x1b[K")


def test_json_and_dumb_terminals_get_none(environment, checkpoint):
    assert stderr_in_terminal(environment, "verify", checkpoint, "--finite", "--json") == ""
    assert stderr_in_terminal(environment | {"TERM": "dumb"}, "verify", checkpoint, "--finite") == ""


def test_a_pipe_gets_none(registry, checkpoint):
    assert registry("verify", checkpoint, "--finite").stderr == ""


def test_a_bar_is_drawn_some_times_a_second_and_no_more(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = Bar("working")

    for step in range(1, 1001):
        now[0] = step / 1000
        bar(step, 1000)

    assert 8 <= capsys.readouterr().err.count("working") <= 11


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (612_300, "612.3 kB"), (90_900_000, "90.9 MB"), (26e8, "2.6 GB")]
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text
