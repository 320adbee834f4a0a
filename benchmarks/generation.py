"""OPT and GPT-Neo of the 125M shapes with random weights in float32: text generation, and forward.

Against transformers 4 with Flax (generate under jit) and transformers 5 with torch (generate with a dynamic cache, with
a static one as the library runs it on a CPU, and with a static one and torch.compile where a C++ compiler is there).
Each is a worker in an environment of its own (see peers/); they measure in turn, one at a time. Memory bandwidth is
measured between them: each token needs every parameter once, which bounds how fast a single text can be made.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import bandwidth
from comparison import COMPILED, FLAX, OURS, TORCH, Comparison, compare, options_of
from measure import medians
from workers import Peer, Worker, alternate, running

FAMILIES = {"opt": "OPT-125m", "gpt_neo": "GPT-Neo-125M"}
PROMPT, NEW, BATCHES, BEAMS = 32, 128, (1, 8), 4
LENGTHS, FEW = tuple(range(5, 45, 2)), 32  # twenty prompts, and new tokens of each
CELLS = ((1, 128), (8, 128), (1, 512))
PARTS = ("decode", "beams", "prompts", "forward", "stream")
DYNAMIC, STATIC, STATIC_COMPILED = "torch", "torch, static cache", "torch, static cache compiled"
FASTER = dict.fromkeys((FLAX, DYNAMIC, STATIC, STATIC_COMPILED), " (goal 1.3)")


class Bench(Comparison):
    """The parts; each fills in figures for both families."""

    def make(self) -> None:
        self.sizes: dict[str, Mapping[str, int]] = {}
        with running(self.peers) as workers:
            for name, worker in workers.items():
                self.figures[f"{name}, versions"] = worker.ask("versions")["versions"]
            for family, title in FAMILIES.items():
                folders = {name: self.folder(family, peer) for name, peer in (("hub", OURS), ("msgpack", FLAX))}
                self.sizes[family] = workers[OURS].ask("make", family=family, **folders)
                self.figures[f"parameters that a step reads, {title}, MB"] = self.sizes[family]["parameters"] / 1e6

    def folder(self, family: str, name: str) -> str:
        """The checkpoint as each reads it: transformers' Flax knows msgpack only."""
        return str(self.scratch / f"{family}-{'msgpack' if name == FLAX else 'hub'}")

    def decode(self) -> None:
        """Greedy decoding, and its share of what memory allows."""
        for family, title in FAMILIES.items():
            with self._loaded(family) as workers:
                for batch in BATCHES:
                    what = f"greedy {title}, batch {batch}"
                    asks = self._generate(workers, what, batch, beams=1)
                    memory = {"copy": bandwidth.copying, "read": bandwidth.reading}
                    found = alternate(asks | memory, rounds=self.options.rounds, warm=0)
                    pace = medians({name: found.pop(name) for name in memory})
                    middle = self._tokens_per_second(what, found, batch)
                    if batch == 1:
                        self._share(what, family, middle[OURS], pace)

    def beams(self) -> None:
        """Beam search."""
        for family, title in FAMILIES.items():
            with self._loaded(family) as workers:
                for batch in BATCHES:
                    what = f"{BEAMS} beams {title}, batch {batch}"
                    asks = self._generate(workers, what, batch, beams=BEAMS)
                    self._tokens_per_second(what, alternate(asks, rounds=min(3, self.options.rounds), warm=0), batch)

    def prompts(self) -> None:
        """Twenty prompts of different lengths, from the start of a process."""
        for family, title in FAMILIES.items():
            what = f"{len(LENGTHS)} prompts {title}, cold process"
            answers: dict[str, dict[str, Any]] = {}
            asks = {name: partial(self._cold, name, family, answers) for name in self.peers}
            found = alternate(asks, rounds=self.options.processes, warm=0)
            self.add(what, found, {FLAX: " (goal 4)"})
            self._same_tokens(what, {name: answer["tokens"] for name, answer in answers.items()})
            self.figures[f"{what}, programs that ours compiled"] = answers[OURS]["programs"]

    def _cold(self, name: str, family: str, answers: dict[str, dict[str, Any]]) -> float:
        with running({name: self.peers[name]}) as workers:
            folder = self.folder(family, name)
            answers[name] = workers[name].ask("prompts", family=family, folder=folder, lengths=LENGTHS, new=FEW)
            return workers[name].age()

    def forward(self) -> None:
        """Logits of all tokens."""
        for family, title in FAMILIES.items():
            with self._loaded(family) as workers:
                answers = {
                    name: worker.ask("digest", batch=8, tokens=128)["numbers"] for name, worker in workers.items()
                }
                self.same_numbers(f" of {title}", answers)
                for batch, tokens in CELLS:
                    asks = {name: _seconds(worker, "forward", batch, tokens) for name, worker in workers.items()}
                    if self.options.compile:
                        asks[COMPILED] = _seconds(workers[TORCH], "forward", batch, tokens, compiled=True)
                    found = alternate(asks, rounds=2 * self.options.rounds)
                    self.add(f"forward {title}, {batch}×{tokens}", found, {FLAX: " (goal 1)", TORCH: " (goal 1)"})

    def stream(self) -> None:
        """The same tokens in one call, and through an iterator."""
        for family, title in FAMILIES.items():
            with self._loaded(family, OURS) as workers:
                asks = {
                    "call": _seconds(workers[OURS], "generate", 1, PROMPT, new=NEW, beams=1),
                    "iterator": _seconds(workers[OURS], "stream", 1, PROMPT, new=NEW),
                }
                found = medians(alternate(asks, rounds=self.options.rounds))
                self.figures[f"stream {title}, in chunks / in one call"] = found["iterator"] / found["call"]

    @contextlib.contextmanager
    def _loaded(self, family: str, *names: str) -> Iterator[dict[str, Worker]]:
        """Workers that have a family's checkpoint; all of them, or the named ones."""
        with running({name: self.peers[name] for name in names or self.peers}) as workers:
            for name, worker in workers.items():
                worker.ask("load", family=family, folder=self.folder(family, name))
            yield workers

    def _generate(
        self, workers: Mapping[str, Worker], what: str, batch: int, beams: int
    ) -> dict[str, Callable[[], float]]:
        """Who generates, after all have shown that they generate the same, and are warm."""
        more: dict[str, tuple[str, dict[str, Any]]] = {
            OURS: (OURS, {}),
            FLAX: (FLAX, {}),
            DYNAMIC: (TORCH, {}),
            STATIC: (TORCH, {"cache": "static"}),
        }
        if self.options.compile:
            more[STATIC_COMPILED] = (TORCH, {"cache": "compiled"})
        asks: dict[str, Callable[[], float]] = {}
        tokens = {}
        for name, (worker, options) in more.items():
            options |= {"new": NEW, "beams": beams}
            tokens[name] = workers[worker].ask("generate", batch=batch, tokens=PROMPT, **options)["tokens"]
            asks[name] = _seconds(workers[worker], "generate", batch, PROMPT, **options)
        self._same_tokens(what, tokens)
        return asks

    def _same_tokens(self, what: str, tokens: Mapping[str, list[list[int]]]) -> None:
        for name, rows in tokens.items():
            if name != OURS:
                same = sum(a == b for a, b in zip(rows, tokens[OURS], strict=True))
                self.figures[f"{what}, rows that {name} made too"] = f"{same} of {len(rows)}"

    def _tokens_per_second(self, what: str, found: Mapping[str, list[float]], batch: int) -> dict[str, float]:
        middle = medians(found)
        self.figures[f"{what}, ours, tokens/s"] = batch * NEW / middle[OURS]
        self.add(what, found, FASTER)
        return middle

    def _share(self, what: str, family: str, seconds: float, pace: Mapping[str, float]) -> None:
        """Bytes that must be read, over the bytes that memory moves in the same time.

        Of the cache, what holds a token: on average the prompt and half of the new ones. Reading the prompt counts as
        one step more, though it takes longer.
        """
        sizes = self.sizes[family]
        needed = NEW * (sizes["parameters"] + sizes["cache"] * (PROMPT + NEW / 2))
        for name, goal in (("copy", " (goal 0.6)"), ("read", "")):
            self.figures[f"memory, {name}, GB/s, beside {what}"] = 1e-9 / pace[name]
            self.figures[f"{what}, share of {name} bandwidth{goal}"] = needed * pace[name] / seconds


def _seconds(worker: Worker, do: str, batch: int, tokens: int, **more: Any) -> Callable[[], float]:
    return lambda: float(worker.ask(do, batch=batch, tokens=tokens, **more)["seconds"])


def main() -> None:
    options = options_of(__doc__.splitlines()[0], "bench-generation", PARTS, rounds=5)
    peers = {
        OURS: Peer(python=sys.executable, file="causal_ours.py"),
        FLAX: Peer(python=options.flax_peer, file="causal_hf_flax.py"),
        TORCH: Peer(python=options.torch_peer, file="causal_hf_torch.py"),
    }
    compare("generation", "OPT and GPT-Neo, 125M, float32: seconds, median", Bench, peers, options, PARTS)


if __name__ == "__main__":
    main()
