"""A save that dies at any step leaves the old checkpoint or the new one, and the next save succeeds."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from automodels.checkpoint.recovery import settle

PROGRAM = Path(__file__).parent / "killing.py"
CASES = ["single-to-sharded", "sharded-to-fewer", "same-single", "same-sharded", "msgpack-to-safetensors"]
OLD, NEW = 1, 2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")


@pytest.fixture(scope="module", params=CASES)
def killed(request, tmp_path_factory) -> Path:
    """A folder with a directory for each death of a save."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # whoever forks has one thread
    subprocess.run([sys.executable, PROGRAM, folder, request.param], check=True, env=environment, timeout=300)
    return folder


def deaths(killed: Path, mode: str) -> list[Path]:
    return sorted(path for path in killed.glob(f"{mode}-*"))


def test_every_kind_of_step_is_died_at(killed):
    steps = json.loads((killed / "steps.json").read_text())

    assert {"open", "write", "fsync", "replace", "unlink"} <= set(steps)
    assert len(deaths(killed, "kill")) == len(deaths(killed, "cut")) == len(steps)
    assert sum(len(deaths(killed, mode)) for mode in ("kill", "torn", "signal", "cut", "reordered")) >= 150


@pytest.mark.parametrize("mode", ["kill", "torn", "signal", "cut", "reordered"])
def test_what_is_left_is_the_old_checkpoint_or_the_new_one(killed, killing, edition, without_fsync, mode):
    found = [edition(directory) for directory in deaths(killed, mode)]

    assert set(found) <= {OLD, NEW}
    assert OLD in found
    assert mode == "torn" or NEW in found  # the last thing that is written is the record: before it the old one counts
    if mode in ("kill", "torn", "signal"):
        assert found == sorted(found)
    for directory in deaths(killed, mode):
        assert all((directory / name).read_bytes() == content for name, content in killing.FOREIGN.items())


@pytest.mark.parametrize("mode", ["kill", "torn", "signal", "cut", "reordered"])
def test_the_next_save_succeeds_and_clears_up(killed, killing, edition, without_fsync, mode):
    clean = None
    for directory, options in zip(deaths(killed, mode), itertools.cycle(({}, {"max_shard_size": 500})), strict=False):
        before = edition(directory)
        settle(directory)
        assert edition(directory) == before

        killing.save(directory, 3, **options)

        assert edition(directory) == 3
        assert not [name for name in os.listdir(directory) if name.startswith(".")]
        assert all((directory / name).read_bytes() == content for name, content in killing.FOREIGN.items())
        if options:
            clean = clean or sorted(os.listdir(directory))
            assert sorted(os.listdir(directory)) == clean


def test_a_save_that_is_killed_from_outside_at_any_time_leaves_one_or_the_other(tmp_path, killing, edition):
    killing.save(tmp_path, OLD)
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import killing, pathlib, itertools\n"
        "print('ready', flush=True)\n"
        "for size in itertools.cycle((400, 700, 2000)):\n"
        "    for edition in (2, 3): killing.save(pathlib.Path(sys.argv[1]), edition, max_shard_size=size)"
    )
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()

        assert edition(tmp_path) in (OLD, NEW, 3)

    killing.save(tmp_path, 4)
    assert edition(tmp_path) == 4
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
