"""BERT-base with random weights in float32: forward, loading, first result, training step, overhead of a call.

Against transformers 4 with Flax under jit and transformers 5 with torch (sdpa; torch.compile where a C++ compiler is
there). Each is a worker in an environment of its own (see peers/); they measure in turn, one at a time. The matrix
products of the forward alone, in JAX and in torch, say how much of a difference comes from them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from comparison import COMPILED, FLAX, OURS, TORCH, Comparison, compare, options_of
from measure import medians
from workers import Peer, Worker, alternate, running

CELLS = ((1, 128), (8, 128), (1, 512))
STEP = (8, 128)
PARTS = ("forward", "load", "first", "step", "overhead")


class Bench(Comparison):
    """The parts; each fills in figures."""

    def __init__(self, peers: Mapping[str, Peer], scratch: Path, options: argparse.Namespace) -> None:
        super().__init__(peers, scratch, options)
        self.hub, self.msgpack = str(scratch / "hub"), str(scratch / "msgpack")

    def folder(self, name: str) -> str:
        """The checkpoint as each reads it: transformers' Flax knows msgpack only."""
        return self.msgpack if name == FLAX else self.hub

    def make(self) -> None:
        with running(self.peers) as workers:
            for name, worker in workers.items():
                self.figures[f"{name}, versions"] = worker.ask("versions")["versions"]
            self.size = workers[OURS].ask("make", hub=self.hub, msgpack=self.msgpack)["parameters"]
        self.figures["parameters, MB"] = self.size / 1e6

    def forward(self) -> None:
        with running(self.peers) as workers:
            for name, worker in workers.items():
                worker.ask("imports")
                worker.ask("load", folder=self.folder(name))
            self._compare(workers)
            for batch, tokens in CELLS:
                what = f"{batch}×{tokens}"
                asks = {name: _seconds(worker, "forward", batch, tokens) for name, worker in workers.items()}
                if self.options.compile:
                    asks[COMPILED] = _seconds(workers[TORCH], "forward", batch, tokens, compiled=True)
                # The products are measured among the forwards, so that both meet the same disturbance.
                products = {
                    f"{name} products": _seconds(workers[name], "products", batch, tokens) for name in (OURS, TORCH)
                }
                found = alternate(asks | products, rounds=self.options.rounds)
                alone = medians({name: found.pop(f"{name} products") for name in (OURS, TORCH)})
                middle = self.add(f"forward {what}", found, {FLAX: " (goal 1)", TORCH: " (goal 1)"})
                self.figures[f"products {what}, jax alone, ms"] = alone[OURS] * 1e3
                self.figures[f"products {what}, torch / jax"] = alone[TORCH] / alone[OURS]
                self.figures[f"products {what}, share of our forward"] = alone[OURS] / middle[OURS]

    def _compare(self, workers: Mapping[str, Worker]) -> None:
        answers = {name: worker.ask("digest", batch=8, tokens=128)["numbers"] for name, worker in workers.items()}
        self.same_numbers("", answers)

    def load(self) -> None:
        """from_pretrained in fresh processes that have imported everything."""
        runs = {name: partial(self._load, name, self.folder(name)) for name in self.peers}
        runs["ours, msgpack"] = partial(self._load, OURS, self.msgpack)
        peaks: dict[str, list[float]] = {name: [] for name in runs}

        def seconds(name: str) -> float:
            found, peak = runs[name]()
            peaks[name].append(peak)
            return found

        found = alternate({name: partial(seconds, name) for name in runs}, rounds=self.options.processes)
        self.add("from_pretrained", found, {FLAX: " (goal 15)"})
        for name, peak in medians(peaks).items():
            self.figures[f"from_pretrained, {name}, peak anonymous memory / parameters"] = peak / self.size

    def _load(self, name: str, folder: str) -> tuple[float, float]:
        with running({name: self.peers[name]}) as workers:
            workers[name].ask("imports")
            answer, peak = workers[name].peak(lambda: workers[name].ask("load", folder=folder))
            return answer["seconds"], peak

    def first(self) -> None:
        """From the start of a process: import, load, compile, compute 1×128."""
        asks = {name: partial(self._first, name) for name in self.peers}
        self.add("start to first result", alternate(asks, rounds=self.options.processes), {FLAX: " (goal 2)"})

    def _first(self, name: str) -> float:
        with running({name: self.peers[name]}) as workers:
            workers[name].ask("first", folder=self.folder(name), batch=1, tokens=128)
            return workers[name].age()

    def step(self) -> None:
        """Forward with dropout, backward, adamw."""
        batch, tokens = STEP
        with running({name: self.peers[name] for name in (OURS, FLAX)}) as workers:
            asks = {
                name: _seconds(worker, "train", batch, tokens, folder=self.folder(name))
                for name, worker in workers.items()
            }
            found = alternate(asks, rounds=max(3, self.options.rounds // 2))
        self.add(f"training step {batch}×{tokens}", found, {FLAX: " (goal 1)"})

    def overhead(self) -> None:
        with running({OURS: self.peers[OURS]}) as workers:
            found = workers[OURS].ask("overhead", calls=2000)
        self.figures["call of a 12-layer model with nothing to compute, ms"] = found["call"] * 1e3
        self.figures["its executable alone, ms"] = found["bare"] * 1e3
        self.figures["overhead of a call, ms (limit 0.3)"] = (found["call"] - found["bare"]) * 1e3


def _seconds(worker: Worker, do: str, batch: int, tokens: int, **more: Any) -> Callable[[], float]:
    return lambda: float(worker.ask(do, batch=batch, tokens=tokens, **more)["seconds"])


def main() -> None:
    options = options_of(__doc__.splitlines()[0], "bench-bert", PARTS, rounds=15)
    peers = {
        OURS: Peer(python=sys.executable, file="ours.py"),
        FLAX: Peer(python=options.flax_peer, file="hf_flax.py"),
        TORCH: Peer(python=options.torch_peer, file="hf_torch.py"),
    }
    compare("bert", "BERT-base, float32: seconds, median", Bench, peers, options, PARTS)


if __name__ == "__main__":
    main()
