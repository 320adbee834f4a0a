"""The parts of the benchmark: equivalence, prefill, decoding, and attention functions alone."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from measure import medians
from sizes import FULL, TINY
from workers import Peer, Worker, WorkerError, in_time, running, usable

FILES = {"flax": "backends_flax.py", "torch": "backends_torch.py", "transformers": "backends_hf.py"}
OURS = ("flax", "torch")
DTYPE = "bfloat16"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
COMPILED_DECODING = "auto, generate(compile=True)"
RATE_GOAL, BANDWIDTH_GOAL = " (goal 0.6)", " (goal 0.7)"


class Bench:
    """The parts; each fills in figures."""

    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self.options, self.sizes = options, TINY if options.tiny else FULL
        env = {**ENVIRONMENT, **environment}
        self.peers = {name: Peer(python=sys.executable, file=FILES[name], env=env) for name in options.frameworks}
        self.figures: dict[str, Any] = {"gpu": _driver(), "sizes": "tiny" if options.tiny else "full"}

    def devices(self) -> set[str]:
        """Kinds of devices that frameworks see; those that cannot start are left out from now on."""
        kinds = set()
        with running(self.peers) as workers:
            for name, worker in workers.items():
                try:
                    found = worker.ask("device")
                    kinds.add(found["kind"])
                    self.figures[f"{name}, device"] = found
                except WorkerError as error:
                    self.figures[f"{name}, left out"] = error.reason
                    print(f"{name} is left out: {error.reason}", flush=True)
                    del self.peers[name]
        return kinds

    def equivalence(self) -> None:
        """Every backend that the machine admits, by the cases of the conformance suites, in each type.

        Each in a process of its own: one that brings its device to a standstill leaves the others alone.
        """
        tasks = []
        for name, found in self._admitted().items():
            self.figures[f"{name}, backends left out"] = found["rejected"]
            tasks += [(name, backend, dtype) for backend in found["accepted"] for dtype in self.sizes.dtypes]
        with ThreadPoolExecutor(self.options.processes) as pool:
            outcomes = list(pool.map(lambda task: self._conforms(*task), tasks))
        print(f"{'backend':<18} {'type':<9} {'':<9} passed failed refused  not tried  worst difference")
        for (name, backend, dtype), found in zip(tasks, outcomes, strict=True):
            self.figures[f"equivalence, {name} {backend} {dtype}"] = found
            for direction, tally in found.items():
                print(f"{f'{name} {backend}':<18} {dtype:<9} {direction:<9} {_row(tally)}")

    def _admitted(self) -> dict[str, Any]:
        """Of each framework, what there is for heads of the usual size in the type that it computes fastest in."""
        with running(self._of(OURS)) as workers:
            return {name: worker.ask("backends", dtype=DTYPE, size=64) for name, worker in workers.items()}

    def _conforms(self, name: str, backend: str, dtype: str) -> dict[str, Any]:
        with running({name: self.peers[name]}) as workers:
            what = {"backend": backend, "dtype": dtype, "every": self.sizes.every, "seconds": self.options.seconds}
            try:
                return workers[name].ask("conforms", **what)
            except WorkerError as error:
                return {"": {"ended": error.reason}}

    def prefill(self) -> None:
        """Logits of prompts without padding, by every backend."""
        batch, tokens = self.sizes.prefill
        with self._models() as (workers, found):
            asks = {
                f"{name} {way}": _seconds(worker, "forward", backend=way, batch=batch, tokens=tokens, padded=False)
                for name, worker in workers.items()
                for way in _ways(name, found[name], "compile")
            }
            limits = {
                f"{name}, product": _seconds(workers[name], "multiply", size=self.sizes.product, dtype=DTYPE)
                for name in self._of(OURS)
            }
            seconds = self._measured("prefill", asks | limits)
            self.figures["prefill, difference of logits from auto"] = {
                f"{name} {way}": workers[name].ask("difference", backend=way, padded=False)["difference"]
                for name in self._of(OURS)
                for way in _ways(name, found[name], "compile")
                if f"{name} {way}" in seconds and way != "auto"
            }
            rates = {name: self.sizes.product_operations / seconds.pop(name) for name in limits}
            for name, rate in rates.items():
                self.figures[f"prefill, {name} of {self.sizes.product}, TFLOP/s"] = rate / 1e12
            best = max(rates.values(), default=None)
            for name, value in seconds.items():
                rate = rates.get(f"{name.split()[0]}, product", best)
                speed = self.sizes.prefill_operations / value
                figures = {"seconds": value, "TFLOP/s": speed / 1e12}
                if rate is not None:
                    figures[f"share of the product's rate{RATE_GOAL}"] = speed / rate
                self.figures[f"prefill {batch}×{tokens}, {name}"] = figures

    def decode(self) -> None:
        """Greedy decoding at batch 1; a token's time is that of many by their number, the prompt's taken off."""
        prompt, new = self.sizes.prompt, self.sizes.new
        with self._models() as (workers, found):
            asks = {}
            for name, worker in workers.items():
                for way in _ways(name, found[name], "compile-reduce-overhead"):
                    what: dict[str, Any] = {"backend": way, "batch": 1, "tokens": prompt}
                    what |= {"backend": "auto", "compiled": True} if way == COMPILED_DECODING else {}
                    for length in (1, 1 + new):
                        asks[f"{name} {way}, {length}"] = _seconds(worker, "generate", new=length, **what)
            limits = {
                f"{name}, {what}": _seconds(workers[name], what, mib=self.sizes.mib)
                for name in self._of(OURS)
                for what in ("copy", "read")
            }
            seconds = self._measured("decode", asks | limits)
            paces = {name: seconds.pop(name) / self.sizes.moved(name.split(", ")[1]) for name in limits}
            for name, pace in paces.items():
                self.figures[f"decode, memory, {name}, GB/s"] = 1e-9 / pace
            for name in (one.removesuffix(", 1") for one in list(seconds) if one.endswith(", 1")):
                if (long := f"{name}, {1 + new}") in seconds:
                    each = (seconds[long] - seconds[f"{name}, 1"]) / new
                    self.figures[f"decode {prompt}+{new}, {name}"] = self._decoded(name, each, paces)

    def _decoded(self, name: str, seconds: float, paces: Mapping[str, float]) -> dict[str, float]:
        figures = {"ms for a token": seconds * 1e3}
        for what, goal in (("copy", BANDWIDTH_GOAL), ("read", "")):
            known = [pace for who, pace in paces.items() if who.endswith(what)]
            if known:
                pace = paces.get(f"{name.split(maxsplit=1)[0]}, {what}", min(known))
                figures[f"share of {what} bandwidth{goal}"] = self.sizes.decode_bytes * pace / seconds
        return figures

    def attention(self) -> None:
        """Attention functions alone: prompts, and steps of decoding."""
        prompts = [
            {"seen": seen, "batch": self.sizes.together // tokens, "queries": tokens, "keys": tokens, "size": size}
            for size in self.sizes.head_sizes
            for tokens in self.sizes.tokens
            for seen in ("causal", "padding")
        ]
        steps = [
            {"seen": seen, "batch": batch, "queries": 1, "keys": tokens, "size": self.sizes.head_sizes[0]}
            for batch in (1, 8)
            for tokens in self.sizes.tokens
            for seen in ("all", "padding")
        ]
        with running(self._of(OURS)) as workers:
            names = {
                size: {name: worker.ask("backends", dtype=DTYPE, size=size) for name, worker in workers.items()}
                for size in self.sizes.head_sizes
            }
            for cell in [*prompts, *steps]:
                more = {"dtype": DTYPE, "heads": self.sizes.width // cell["size"]}
                asks = {
                    f"{name} {backend}": _seconds(workers[name], "attention", backend=backend, **cell, **more)
                    for name, found in names[cell["size"]].items()
                    for backend in found["accepted"]
                }
                what = f"attention, {cell['batch']}×{cell['queries']} to {cell['keys']}, heads of {cell['size']}"
                seconds = self._measured(f"{what}, {cell['seen']}", asks)
                self.figures[f"{what}, {cell['seen']}, ms"] = {name: 1e3 * value for name, value in seconds.items()}

    @contextmanager
    def _models(self) -> Iterator[tuple[dict[str, Worker], dict[str, Any]]]:
        """A worker of each that has made the model; who may compute its attention."""
        with running(self.peers) as workers:
            fields = {**self.sizes.model, "eos_token_id": None}
            made = {
                name: worker.ask("make", family="opt", dtype=DTYPE, fields=fields) for name, worker in workers.items()
            }
            yield workers, made

    def _measured(self, what: str, asks: Mapping[str, Callable[[], float]]) -> dict[str, float]:
        """Median seconds of those that can do it, measured in turn; why the others cannot is a figure."""
        asks, reasons = usable(asks)
        if reasons:
            self.figures[f"{what}, failed"] = reasons
        return medians(in_time(asks, rounds=self.options.rounds, seconds=self.options.cell_seconds)) if asks else {}

    def _of(self, names: tuple[str, ...]) -> dict[str, Peer]:
        return {name: peer for name, peer in self.peers.items() if name in names}


def _ways(name: str, found: Mapping[str, Any], execution: str) -> list[str]:
    """How a model is computed: as it is chosen, with each backend by name, and compiled by torch."""
    if name == "transformers":
        return ["sdpa", "compiled" if execution == "compile" else "static"]
    ways = ["auto", *(backend for backend in found["accepted"] if backend != found["auto"])]
    if name == "torch" and execution != "compile":
        ways.append(COMPILED_DECODING)
    return [*ways, *([f"auto+{execution}"] if execution in found["ways"] else [])]


def _seconds(worker: Worker, do: str, **what: Any) -> Callable[[], float]:
    return lambda: float(worker.ask(do, **what)["seconds"])


def _row(tally: Mapping[str, Any]) -> str:
    if "ended" in tally:
        return str(tally["ended"])
    counts = f"{tally['passed']:>6} {tally['failed']:>6} {tally['refused']:>7} {tally['not tried']:>10}"
    failures = "".join(f"\n    {failure}" for failure in tally["failures"])
    return f"{counts}  {tally['worst difference']:.1e}{failures}"


def _driver() -> str:
    """What the driver says of the GPU."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "no nvidia-smi"
    query = [command, "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    found = subprocess.run(query, check=False, capture_output=True, text=True, timeout=60)
    return (found.stdout or found.stderr).strip()
