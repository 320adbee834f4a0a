"""Workers: processes in environments of their own that measure when they are told to, one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PEERS = Path(__file__).parent / "peers"
PAUSE = 0.05  # seconds between measurements: threads of the last one that still spin go to sleep
LEFT_OUT = {"PYTHONDONTWRITEBYTECODE", "JAX_COMPILATION_CACHE_DIR"}  # an installed package has bytecode, no programs
QUIET = {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}


class WorkerError(RuntimeError):
    """A worker could not do what it was asked."""

    def __init__(self, message: str, reason: str) -> None:
        """`reason` is the message's one line that says why."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A worker's file and the interpreter that runs it."""

    python: str
    file: str
    env: Mapping[str, str] = field(default_factory=lambda: QUIET)
    """What it finds in its environment beside what is there."""

    def start(self) -> Worker:
        inherited = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed with the worker
        started = time.perf_counter()
        process = subprocess.Popen(
            [self.python, str(PEERS / self.file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**inherited, **self.env},
        )
        return Worker(process, errors, started)


class Worker:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str], started: float) -> None:
        self.process, self._errors, self._started = process, errors, started

    def age(self) -> float:
        """Seconds since the process was started."""
        return time.perf_counter() - self._started

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request; raises WorkerError with what the worker wrote when it has none."""
        assert self.process.stdin
        assert self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **arguments}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {}
        if not line or "error" in found:
            self._errors.seek(0)
            written = self._errors.read()[-4000:]
            error = found.get("error", f"it ended\n{written}")
            raise WorkerError(f"{self.process.args}, {do} {arguments}: {error}\n{written}", reason=_reason(error))
        return found

    def anonymous(self) -> int:
        """Bytes of anonymous memory that the process holds now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def most_resident(self) -> int:
        """Bytes of memory that the process held at most, pages of mapped files included."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def peak(self, ask: Callable[[], Any]) -> tuple[Any, int]:
        """The answer, and how far anonymous memory rose meanwhile; watched from here, where its work cannot hide it."""
        before = highest = self.anonymous()
        done = threading.Event()

        def watch() -> None:
            nonlocal highest
            while not done.wait(0.003):
                highest = max(highest, self.anonymous())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            answer = ask()
        finally:
            done.set()
            thread.join()
        return answer, max(highest, self.anonymous()) - before

    def close(self) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()


@contextlib.contextmanager
def running(peers: Mapping[str, Peer]) -> Iterator[dict[str, Worker]]:
    """A worker of each peer; all are ended at the end."""
    with contextlib.ExitStack() as stack:
        workers = {name: peer.start() for name, peer in peers.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        yield workers


def alternate(asks: Mapping[str, Callable[[], float]], *, rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Each one's seconds, asked in turn; whoever comes first in one round comes last in the next."""
    found: dict[str, list[float]] = {name: [] for name in asks}
    names = list(asks)
    for number in range(-warm, rounds):
        for name in names:
            time.sleep(PAUSE)
            seconds = asks[name]()
            if number >= 0:
                found[name].append(seconds)
        names.append(names.pop(0))
    return found


def usable(asks: Mapping[str, Callable[[], float]]) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Those that can do it once, which compiles what has to be compiled; why the others cannot."""
    found, reasons = {}, {}
    for name, ask in asks.items():
        try:
            ask()
            found[name] = ask
        except WorkerError as error:
            reasons[name] = error.reason
    return found, reasons


def in_time(asks: Mapping[str, Callable[[], float]], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """As `alternate`, without a warm-up: as many rounds as there is time for, two at least and `rounds` at most."""
    started = time.perf_counter()
    found = alternate(asks, rounds=2, warm=0)
    a_round = (time.perf_counter() - started) / 2
    more = min(rounds - 2, round(seconds / a_round) - 2)
    if more > 0:
        for name, measured in alternate(asks, rounds=more, warm=0).items():
            found[name] += measured
    return found


def spread(seconds: list[float]) -> float:
    """How noisy: half of the measurements lie within this share of the median."""
    low, _, high = statistics.quantiles(seconds, n=4)
    return (high - low) / statistics.median(seconds)


def _reason(error: str) -> str:
    """The first line of the last exception in what was written."""
    lines = [line for line in error.rpartition("Traceback (most recent call last)")[2].splitlines() if line.strip()]
    causes = [line for line in lines[1:] if not line.startswith(" ")]
    return (causes or lines)[0][:300]
