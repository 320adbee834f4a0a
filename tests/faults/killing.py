"""Dies at every step of a save. Run as a program: killing.py FOLDER CASE.

Each step is a system call that changes something; each death leaves a directory `FOLDER/<mode>-<step>` behind:

kill        the process ends before the step
torn        it ends in the middle of a write
signal      it is ended by SIGKILL before the step, with real fsyncs (a sample of the steps)
cut         the power fails before the step: what was not fsynced is lost, in files and in the directory
reordered   the same, except that the last change of the directory did reach the disk, and some before it at random
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from automodels.checkpoint.writer import save_tensors

STEPS = ("open", "write", "ftruncate", "fsync", "replace", "unlink", "mkdir", "rmdir")
MODES = ("kill", "torn", "signal", "cut", "reordered")
NAMES = [f"{part}.{layer}.{kind}" for layer in range(6) for part in ("enc", "dec") for kind in ("weight", "bias")]
FOREIGN = {
    "README.md": b"# mine\n",
    "vocab.txt": b"a\nb\n",
    "model.fp16.safetensors": b"another variant",
    "x.bin": b"x",
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # options of the save before, and of the one that dies
    "single-to-sharded": ({}, {"max_shard_size": 400}),
    "sharded-to-fewer": ({"max_shard_size": 300}, {"max_shard_size": 700}),
    "same-single": ({}, {}),
    "same-sharded": ({"max_shard_size": 400}, {"max_shard_size": 400}),
    "msgpack-to-safetensors": ({"format": "msgpack", "max_shard_size": 400}, {"max_shard_size": 700}),
}


def tensors(edition: int) -> dict[str, np.ndarray]:
    """24 small arrays, whose values are different in every edition; odd sizes so that not all are aligned."""
    numbers = np.random.default_rng(edition)
    return {name: numbers.integers(0, 255, 64 if name.endswith("weight") else 33, np.uint8) for name in NAMES}


def save(directory: Path, edition: int, **options: Any) -> None:
    config = json.dumps({"model_type": "toy", "edition": edition}).encode()
    save_tensors(directory, tensors(edition), files={"config.json": config}, **options)


class Watch:
    """Counts the steps of this process and ends it at one of them."""

    def __init__(self, folder: Path, mode: str, deadly: int | None) -> None:
        self.folder, self.mode, self.deadly = str(folder), mode, deadly
        self.steps: list[str] = []
        self.one_by_one = threading.Lock()  # a save waits for the disk in a thread of its own
        self.real = {name: getattr(os, name) for name in STEPS}
        self.paths: dict[int, str] = {}
        self.unsynced: set[int] = set()  # inodes
        self.durable: dict[str, str] = {}  # name in the directory → link that keeps the file
        self.changes: list[tuple[str, tuple[Any, ...]]] = []  # of the directory, since it was fsynced
        self.shadow = f"{self.folder}.shadow"
        if mode in ("cut", "reordered"):
            os.mkdir(self.shadow)
            self.remember()
        for name in STEPS:
            setattr(os, name, self.watched(name))

    def watched(self, name: str) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return self.follow(name, arguments, self.real[name](*arguments, **options))
            with self.one_by_one:
                if self.deadly == len(self.steps):
                    self.die(name, arguments)
                self.steps.append(name)
                if name == "fsync" and self.mode != "signal":
                    return self.follow(name, arguments, None)
                return self.follow(name, arguments, self.real[name](*arguments, **options))

        return step

    def follow(self, name: str, arguments: tuple[Any, ...], result: Any) -> Any:
        """Keeps account of what would survive a power cut."""
        if self.mode not in ("cut", "reordered"):
            return result
        if name == "open":
            self.paths[result] = os.fspath(arguments[0])
        if name in ("write", "ftruncate"):
            self.unsynced.add(os.fstat(arguments[0]).st_ino)
        if name in ("replace", "unlink"):
            self.changes.append((name, arguments))
        if name == "fsync":
            self.unsynced.discard(os.fstat(arguments[0]).st_ino)
            if self.paths[arguments[0]] == self.folder:
                self.remember()
        return result

    def remember(self) -> None:
        self.changes.clear()
        self.durable.clear()
        for name in os.listdir(self.folder):
            kept = f"{self.shadow}/{os.stat(f'{self.folder}/{name}').st_ino}"
            if not os.path.exists(kept):
                os.link(f"{self.folder}/{name}", kept)
            self.durable[name] = kept

    def die(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self.mode == "torn" and name == "write":
            self.real["write"](arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
        if self.mode == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode in ("cut", "reordered"):
            self.lose()
        os._exit(9)

    def lose(self) -> None:
        for name in os.listdir(self.folder):
            self.real["unlink"](f"{self.folder}/{name}")
        for name, kept in self.durable.items():
            os.link(kept, f"{self.folder}/{name}")
            if os.stat(kept).st_ino in self.unsynced:
                os.truncate(kept, 0)
        if self.mode == "reordered":
            chance = random.Random(self.deadly)
            for name, arguments in (
                *(change for change in self.changes[:-1] if chance.random() < 0.5),
                *self.changes[-1:],
            ):
                with contextlib.suppress(FileNotFoundError):  # made since the directory was fsynced
                    self.real[name](*arguments)


def child(folder: Path, mode: str, deadly: int | None, work: Callable[[], None]) -> list[str]:
    """The steps that a process took, if it was not to die."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        watch = Watch(folder, mode, deadly)
        work()
        watch.real["write"](writer, json.dumps(watch.steps).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        steps = stream.read()
    _, status = os.waitpid(pid, 0)
    expected = 0 if deadly is None else signal.SIGKILL if mode == "signal" else 9 << 8
    if status != expected:
        raise SystemExit(f"{mode} at {deadly}: the process ended with {status}, not {expected}")
    return json.loads(steps) if steps else []


def main(folder: Path, case: str) -> None:
    before, after = CASES[case]
    save(folder / "old", 1, **before)
    for name, content in FOREIGN.items():
        (folder / "old" / name).write_bytes(content)
    shutil.copytree(folder / "old", folder / "new")
    steps = child(folder / "new", "kill", None, lambda: save(folder / "new", 2, **after))
    (folder / "steps.json").write_text(json.dumps(steps))
    for mode in MODES:
        for number, step in enumerate(steps):
            if (mode == "torn" and step != "write") or (mode == "signal" and number % 5):
                continue
            target = folder / f"{mode}-{number:03d}"
            shutil.copytree(folder / "old", target)
            child(target, mode, number, lambda target=target: save(target, 2, **after))
            shutil.rmtree(f"{target}.shadow", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
