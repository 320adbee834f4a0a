"""A save that the system refuses is one typed error; the old checkpoint and everything else stay."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from automodels.checkpoint import staging as staging_module
from automodels.checkpoint.journal import RECORD
from automodels.checkpoint.sources import LazyTensor
from automodels.checkpoint.writer import save_tensors
from automodels.errors import CheckpointError, CheckpointFormatError, CheckpointWriteError
from automodels.families.bert import BertConfig

OLD, NEW = 1, 2


@pytest.fixture
def old(tmp_path, killing) -> Path:
    directory = tmp_path / "checkpoint"
    killing.save(directory, OLD, max_shard_size=400)
    (directory / "notes.txt").write_text("mine")
    return directory


def listing(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in directory.iterdir()}


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EIO, "Input/output error"), (errno.EDQUOT, "the quota is used up")],
)
def test_a_call_that_fails_at_any_time_before_the_decision_changes_nothing(
    monkeypatch, old, killing, edition, without_fsync, call, number, said
):
    before = listing(old)
    real = getattr(os, call)
    for deadly in range(100):
        calls = 0

        def failing(*arguments, deadly=deadly, **options):
            nonlocal calls
            calls += call != "open" or bool(arguments[1] & os.O_CREAT)
            if calls == deadly + 1:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                killing.save(old, NEW)
            except CheckpointWriteError as error:
                caught = error
            else:
                break
        assert said in caught.message
        assert caught.errno == number
        if not (old / RECORD).exists():
            assert "Nothing was changed" in str(caught)
            assert listing(old) == before
        else:
            assert "The new checkpoint is complete and counts" in str(caught)
            assert edition(old) == NEW
            killing.save(old, OLD, max_shard_size=400)
            before = listing(old)
    assert deadly >= (1 if call == "replace" else 2)
    assert edition(old) == NEW


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_file_that_may_not_grow_is_a_full_disk_to_us(old, edition, killing):
    before = listing(old)
    code = (
        "import resource, sys, numpy as np\n"
        "from automodels.checkpoint.writer import save_tensors\n"
        "from automodels.errors import CheckpointWriteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: save_tensors(sys.argv[1], {'a': np.zeros(1 << 18, np.float32)})\n"
        "except CheckpointWriteError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code, old], capture_output=True, text=True, check=True)

    assert "[AM405]" in done.stdout
    assert "larger than is allowed" in done.stdout
    assert listing(old) == before


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="the system does not tell")
def test_a_checkpoint_larger_than_the_disk_is_refused_before_anything_is_read(old):
    before = listing(old)
    huge = LazyTensor(np.dtype(np.float32), (1 << 50,), lambda: pytest.fail("was read"))

    with pytest.raises(CheckpointWriteError, match=r"needs 4503599.63 GB beside the old one; the\s+disk has"):
        save_tensors(old, {"a": huge})

    assert listing(old) == before


def test_a_full_file_system_leaves_the_old_checkpoint(tmp_path, killing, edition):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        killing.save(small, OLD)
        before = listing(small)
        # What the system says to be free is not believed here, so that the disk fills up in the middle of a write.
        patch = pytest.MonkeyPatch()
        patch.setattr(staging_module.Staging, "require", lambda self, nbytes: None)
        try:
            with pytest.raises(CheckpointWriteError, match="the disk is full"):
                save_tensors(small, {"a": np.ones(1 << 18, np.float32)})
        finally:
            patch.undo()

        assert listing(small) == before
        assert edition(small) == OLD
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_directory_without_permission_is_refused(old, killing, edition):
    before = listing(old)
    if os.geteuid() == 0:
        pytest.skip("root may do everything")
    old.chmod(0o555)
    try:
        with pytest.raises(CheckpointWriteError, match="permission denied"):
            killing.save(old, NEW)
    finally:
        old.chmod(0o755)

    assert listing(old) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_target_that_cannot_be_written_to_is_refused(monkeypatch, old, killing, number):
    before = listing(old)
    real = os.open

    def refusing(path, flags, *rest, **options):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        with pytest.raises(CheckpointWriteError, match="the file system is read-only|permission denied"):
            killing.save(old, NEW)

    assert listing(old) == before


def test_a_target_that_is_a_file_or_lies_below_one_is_refused(tmp_path, killing):
    (tmp_path / "file").write_text("mine")

    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            CheckpointWriteError, match="is a file; a checkpoint is saved into a directory|below a file"
        ):
            killing.save(target, NEW)
        with pytest.raises(CheckpointWriteError):
            BertConfig().save_pretrained(target)

    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_that_was_made_for_a_save_that_failed_is_removed(tmp_path):
    def failing():
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        save_tensors(tmp_path / "a" / "b", {"x": LazyTensor(np.dtype(np.int8), (1,), failing)})

    assert not (tmp_path / "a").exists()


def test_an_error_of_the_source_is_passed_on_and_nothing_changes(old):
    before = listing(old)

    def failing():
        raise CheckpointFormatError("the source is broken.")

    with pytest.raises(CheckpointFormatError, match="the source is broken"):
        save_tensors(old, {"a": np.zeros(3), "x": LazyTensor(np.dtype(np.int8), (1,), failing)})

    assert listing(old) == before


def test_a_directory_in_the_place_of_a_file_is_refused(tmp_path, killing):
    (tmp_path / "model.safetensors").mkdir()

    with pytest.raises(CheckpointWriteError, match="model.safetensors is a directory"):
        killing.save(tmp_path, NEW)

    assert os.listdir(tmp_path) == ["model.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_files_have_the_mode_that_the_umask_leaves(tmp_path, killing):
    before = os.umask(0o027)
    try:
        killing.save(tmp_path, NEW)
    finally:
        os.umask(before)

    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path, killing, edition):
    blob = tmp_path / "blob"
    blob.write_bytes(b"of another repository")
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "model.safetensors").symlink_to(blob)

    killing.save(directory, NEW)

    assert blob.read_bytes() == b"of another repository"
    assert edition(directory) == NEW


def test_the_error_is_an_oserror_and_a_checkpoint_error():
    assert issubclass(CheckpointWriteError, OSError)
    assert issubclass(CheckpointWriteError, CheckpointError)
