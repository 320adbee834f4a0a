"""Several writers, and readers beside a writer: nobody sees a mixture, nobody loses what he has mapped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from automodels.checkpoint.directory_lock import LOCK, locked
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointChangedError, CheckpointWriteError

HERE = Path(__file__).parent


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    start = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import killing, pathlib; target = pathlib.Path(sys.argv[1])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_processes_that_save_at_once_all_finish_and_one_of_them_is_what_is_left(tmp_path, edition):
    code = "for turn in range(5): killing.save(target, int(sys.argv[2]), max_shard_size=300 * int(sys.argv[2]))"
    writers = [process(code, tmp_path, number) for number in (1, 2, 3)]

    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.communicate()

    assert edition(tmp_path) in (1, 2, 3)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_threads_that_save_at_once_take_turns(tmp_path, killing, edition, without_fsync):
    threads = [threading.Thread(target=killing.save, args=(tmp_path, number)) for number in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert edition(tmp_path) in (1, 2, 3, 4)


def test_who_waits_too_long_is_told_for_whom(tmp_path, killing, edition):
    killing.save(tmp_path, 1)

    with locked(tmp_path, 0), pytest.raises(CheckpointWriteError, match=rf"process {os.getpid()} has been saving"):
        killing.save(tmp_path, 2, lock_timeout=0.1)

    assert edition(tmp_path) == 1
    killing.save(tmp_path, 2)
    assert edition(tmp_path) == 2


def test_the_lock_of_a_dead_process_stops_nobody(tmp_path, killing, edition):
    holder = process(
        "from automodels.checkpoint.directory_lock import locked\nimport time\n"
        "with locked(target, 0): print('held', flush=True); time.sleep(60)",
        tmp_path,
    )
    holder.stdout.readline()
    with pytest.raises(CheckpointWriteError, match=rf"process {holder.pid}"):
        killing.save(tmp_path, 1, lock_timeout=0)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK).exists()

    killing.save(tmp_path, 1, lock_timeout=5)

    assert edition(tmp_path) == 1
    assert not (tmp_path / LOCK).exists()


def test_arrays_that_are_mapped_stay_what_they_were_while_the_checkpoint_is_saved_over(
    tmp_path, killing, without_fsync
):
    killing.save(tmp_path, 1)
    mapped = {name: view.numpy() for name, view in Checkpoint.open(tmp_path).items()}

    for edition in (2, 3):
        killing.save(tmp_path, edition)
        save_tensors(tmp_path, {"a": np.zeros(2)})  # shorter: a file cut in place would end the process

    assert all(np.array_equal(mapped[name], array) for name, array in killing.tensors(1).items())


def test_a_checkpoint_can_be_saved_over_itself_from_its_own_views(tmp_path, killing, edition, without_fsync):
    killing.save(tmp_path, 1, max_shard_size=300)

    for size in (700, "5GB", 300):
        save_tensors(tmp_path, Checkpoint.open(tmp_path), max_shard_size=size)

        assert edition(tmp_path) == 1


def test_who_reads_while_others_save_gets_one_of_the_checkpoints_or_a_typed_error(tmp_path, killing):
    killing.save(tmp_path, 1, max_shard_size=400)
    writer = process(
        "for turn in range(60): killing.save(target, 1 + turn % 3, max_shard_size=400 + turn % 3 * 300)", tmp_path
    )
    editions = {number: killing.tensors(number) for number in (1, 2, 3)}
    seen = set()
    deadline = time.monotonic() + 60
    while writer.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(CheckpointChangedError):  # replaced after its header was read
            found = {name: view.numpy() for name, view in Checkpoint.open(tmp_path).items()}
            matching = [number for number, arrays in editions.items() if same(found, arrays)]
            assert len(matching) == 1
            seen.update(matching)
    writer.communicate()

    assert writer.returncode == 0
    assert seen


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], array) for name, array in wanted.items())
