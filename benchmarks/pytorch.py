"""Our PyTorch models against transformers 5: import, loading 2.6 GB, forward, and greedy decoding, in float32.

Each is a worker in an environment of its own (see peers/); they measure in turn, one at a time. Weights are random, and
before anything is timed both have to compute the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from comparison import COMPILED, OURS, TORCH, Comparison, compare, options_of
from measure import medians, seconds_of_commands
from workers import Peer, Worker, alternate, running

PARTS = ("imports", "load", "forward", "decode")
FAMILIES = {"bert": "BERT-base", "opt": "OPT-125m"}
FILES = {"bert": "hf_torch.py", "large": "hf_torch.py", "opt": "causal_hf_torch.py"}
CELLS = ((1, 128), (8, 128), (1, 512))
PROMPT, NEW, BATCHES = 32, 128, (1, 8)
OURS_COMPILED, STATIC, STATIC_COMPILED = "ours, compiled", "torch, static cache", "torch, static cache compiled"
IMPORTS = {
    "torch": "import torch",
    "runtime": "import torch, torch_runtime.modeling",
    "heads": "import torch_heads.opt",
}


class Bench(Comparison):
    """The parts; each fills in figures."""

    def make(self) -> None:
        self.sizes: dict[str, int] = {}
        with running(self._pair("opt")) as workers:
            for name, worker in workers.items():
                self.figures[f"{name}, versions"] = worker.ask("versions")["versions"]
            for family in FILES:
                found = workers[OURS].ask("make", family=family, folder=self._folder(family))
                self.sizes[family] = found["parameters"]

    def imports(self) -> None:
        """What a model class adds to `import torch`, as whole processes."""
        commands = {name: [sys.executable, "-c", code] for name, code in IMPORTS.items()}
        found = medians(seconds_of_commands(commands, runs=2 * self.options.rounds))
        self.figures["import torch, ms"] = found["torch"] * 1e3
        self.figures["torch_runtime.modeling over it, ms (limit 150)"] = (found["runtime"] - found["torch"]) * 1e3
        self.figures["torch_heads.opt over it, ms"] = (found["heads"] - found["torch"]) * 1e3

    def load(self) -> None:
        """A checkpoint of 2.6 GB in shards, from the start of a process; highest memory of that process.

        Our parameters lie in the mapped files, whose pages come when they are first used: so the first result is
        measured too.
        """
        self.figures["large checkpoint, GB"] = self.sizes["large"] / 1e9
        for what, do in (("process to ready model", "load"), ("process to first result", "first")):
            peaks: dict[str, list[float]] = {name: [] for name in (OURS, TORCH)}
            asks = {name: partial(self._start, name, do, peaks[name]) for name in peaks}
            found = alternate(asks, rounds=self.options.processes)
            self.add(f"2.6 GB, {what}", found, {TORCH: " (goal 1.5)"} if do == "load" else {})
            for name, bytes_ in medians(peaks).items():
                self.figures[f"2.6 GB, {what}, {name}, most memory / parameters"] = bytes_ / self.sizes["large"]

    def _start(self, name: str, do: str, peaks: list[float]) -> float:
        with running({name: self._pair("large")[name]}) as workers:
            worker = workers[name]
            more = {"batch": 1, "tokens": 8} if do == "first" else {}
            self._ask(worker, name, do, "large", folder=self._folder("large"), **more)
            seconds = worker.age()
            peaks.append(float(worker.most_resident()))
            return seconds

    def forward(self) -> None:
        """Hidden states of BERT, logits of OPT."""
        for family, title in FAMILIES.items():
            with running(self._pair(family)) as workers:
                self._load(workers, family)
                answers = {
                    name: worker.ask("digest", batch=8, tokens=128)["numbers"] for name, worker in workers.items()
                }
                self.same_numbers(f" of {title}", answers)
                for batch, tokens in CELLS:
                    asks = {name: _seconds(worker, "forward", batch, tokens) for name, worker in workers.items()}
                    if self.options.compile:
                        asks[OURS_COMPILED] = _seconds(workers[OURS], "forward", batch, tokens, compiled=True)
                        asks[COMPILED] = _seconds(workers[TORCH], "forward", batch, tokens, compiled=True)
                    found = alternate(asks, rounds=2 * self.options.rounds)
                    self._add(f"forward {title}, {batch}×{tokens}", found, COMPILED, " (goal 1)")

    def decode(self) -> None:
        """Greedy decoding of OPT: the peer with each kind of cache."""
        with running(self._pair("opt")) as workers:
            self._load(workers, "opt")
            for batch in BATCHES:
                what = f"greedy {FAMILIES['opt']}, batch {batch}"
                who: dict[str, tuple[str, dict[str, Any]]] = {
                    OURS: (OURS, {}),
                    TORCH: (TORCH, {}),
                    STATIC: (TORCH, {"cache": "static"}),
                }
                if self.options.compile:
                    who |= {
                        OURS_COMPILED: (OURS, {"compiled": True}),
                        STATIC_COMPILED: (TORCH, {"cache": "compiled"}),
                    }
                tokens, asks = {}, {}
                for name, (worker, options) in who.items():
                    options |= {"new": NEW, "beams": 1}
                    tokens[name] = workers[worker].ask("generate", batch=batch, tokens=PROMPT, **options)["tokens"]
                    asks[name] = _seconds(workers[worker], "generate", batch, PROMPT, **options)
                for name, rows in tokens.items():
                    same = sum(a == b for a, b in zip(rows, tokens[OURS], strict=True))
                    self.figures[f"{what}, rows that {name} made too"] = f"{same} of {len(rows)}"
                found = alternate(asks, rounds=self.options.rounds)
                self.figures[f"{what}, ours, tokens/s"] = batch * NEW / medians(found)[OURS]
                self._add(what, found, STATIC_COMPILED, " (goal 1.3)")

    def _add(self, what: str, found: Mapping[str, list[float]], compiled: str, goal: str) -> None:
        """What runs as it is against the same, and what is compiled against what is compiled."""
        middle = self.add(what, found, dict.fromkeys((TORCH, STATIC), goal))
        if OURS_COMPILED in middle:
            self.figures[f"{what}, {compiled} / ours, compiled{goal}"] = middle[compiled] / middle[OURS_COMPILED]

    def _pair(self, family: str) -> dict[str, Peer]:
        return {OURS: self.peers[OURS], TORCH: Peer(python=self.options.torch_peer, file=FILES[family])}

    def _folder(self, family: str) -> str:
        return str(self.scratch / family)

    def _load(self, workers: Mapping[str, Worker], family: str) -> None:
        for name, worker in workers.items():
            self._ask(worker, name, "load", family, folder=self._folder(family))

    @staticmethod
    def _ask(worker: Worker, name: str, do: str, family: str, **arguments: Any) -> dict[str, Any]:
        """The peer's worker for BERT knows no families."""
        told = {"family": family} if name == OURS or family == "opt" else {}
        return worker.ask(do, **told, **arguments)


def _seconds(worker: Worker, do: str, batch: int, tokens: int, **more: Any) -> Callable[[], float]:
    return lambda: float(worker.ask(do, batch=batch, tokens=tokens, **more)["seconds"])


def main() -> None:
    options = options_of(__doc__.splitlines()[0], "bench-torch", PARTS, rounds=7, peers=("torch",))
    peers = {OURS: Peer(python=sys.executable, file="torch_ours.py")}
    compare("pytorch", "PyTorch, float32: seconds, median", Bench, peers, options, PARTS)


if __name__ == "__main__":
    main()
