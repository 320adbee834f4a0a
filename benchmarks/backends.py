"""Backends of Flax and of PyTorch on this machine's first device, in float32: attention functions alone, and in models.

Each framework is measured in a process of its own, one at a time; every backend that can run here is asked for by name,
in turn with the others. Beside ours stand two from outside, registered by a throw-away plugin: JAX's own
dot_product_attention, and torch's scaled_dot_product_attention as it is. The figure of a cell is the time of the
backend that "auto" takes by that of the fastest one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from measure import RESULTS, medians, record, seconds_of_commands, show
from workers import Peer, Worker, in_time, running, spread, usable

from automodels.testing.sites import FakeSite

FRAMEWORKS = {"flax": "backends_flax.py", "torch": "backends_torch.py"}
PARTS = ("attention", "forward", "decode", "start")
GOAL = "auto / best (goal at most 1.05)"
MOST_DIFFERENCE = 1e-3  # between outputs of two backends, by root mean squares

BATCHES, TOKENS, KEYS = (1, 8), (16, 128, 512), (32, 128, 512, 1024)
HEADS, SIZE, DTYPE = 12, 64, "float32"
PROMPTS, NEW = (128, 512), 32
MANY = 2048  # tokens from which on a smaller model stands for the whole one, which takes too long
SMALLER, SMALLER_IS = {"num_hidden_layers": 4, "vocab_size": 8192}, " (4 layers, 8,192 words)"
UNFUSED, MOST_UNFUSED = "flex", 128  # on a CPU it computes in plain operations: many tokens would take minutes
FAMILIES = {"bert": "BERT-base", "opt": "OPT-125m"}
TINY = {"hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 512}
FURTHER = {"bert": {"intermediate_size": 128}, "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64}}

MANIFEST = """{head}
[[backend]]
name = "jax.nn"
framework = "flax"
implementation = "outside_flax:attention"
devices = ["cpu", "cuda"]
supports = ["mask", "bias", "causal"]
priority = 1

[[backend]]
name = "torch.nn"
framework = "torch"
implementation = "outside_torch:attention"
devices = ["cpu", "cuda"]
supports = ["mask", "causal"]
priority = 1
"""
OUTSIDE_FLAX = """
import jax

def attention(q, k, v, *, mask=None, bias=None, scale=None, causal=False):
    return jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask, scale=scale, is_causal=causal)
"""
OUTSIDE_TORCH = """
from torch.nn.functional import scaled_dot_product_attention

def attention(q, k, v, *, mask=None, scale=None, is_causal=False):
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, is_causal=is_causal)
"""

START = """
import jax
from flax_opt import FlaxOPTForCausalLM, OPTConfig

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
model = FlaxOPTForCausalLM(OPTConfig(eos_token_id=None, **{fields}), backend="{backend}")
model.generate([[5] * 32], max_new_tokens=8).sequences.block_until_ready()
"""


class Bench:
    """The parts; each fills in figures of one framework."""

    def __init__(self, framework: str, worker: Worker, options: argparse.Namespace) -> None:
        self.framework, self.worker, self.options = framework, worker, options
        self.device = worker.ask("device")
        self.figures: dict[str, Any] = {f"{framework}, device": self.device}
        self.ratios: dict[str, float] = {}
        """Of the part that is measured: cell → auto / best."""

    def measure(self, part: str) -> None:
        """One part, and which of its cells is the worst."""
        self.ratios = {}
        getattr(self, part)()
        worst = max(self.ratios, key=self.ratios.__getitem__)
        self.figures[f"{self.framework}, {part}, worst {GOAL}"] = {"ratio": self.ratios[worst], "cell": worst}

    def attention(self) -> None:
        """Functions alone, as a prompt and as a step of decoding calls them."""
        size = 16 if self.options.tiny else SIZE
        found = self.worker.ask("backends", dtype=DTYPE, size=size)
        self.figures[f"{self.framework}, left out"] = found["rejected"]
        prefill = [
            (batch, tokens, tokens, seen) for batch in BATCHES for tokens in TOKENS for seen in ("causal", "padding")
        ]
        decoding = [(batch, 1, keys, seen) for batch in BATCHES for keys in KEYS for seen in ("all", "padding")]
        for batch, queries, keys, seen in self._few([*prefill, *decoding]):
            cell = {"seen": seen, "batch": batch, "queries": queries, "keys": keys}
            cell |= {"dtype": DTYPE, "heads": 2 if self.options.tiny else HEADS, "size": size}
            asks = {
                name: self._ask("attention", backend=name, **cell)
                for name in found["accepted"]
                if self._is_worth(name, batch * queries)
            }
            self._add(f"attention {batch}×{queries} to {keys}, {seen}", asks, found["auto"])

    def forward(self) -> None:
        """Hidden states of BERT, of texts with padding; logits of OPT, of texts without."""
        for family, title in FAMILIES.items():
            cells = [(batch, tokens) for batch in BATCHES for tokens in TOKENS]
            for smaller, (batch, tokens), found in self._loaded(family, cells):
                what = {"batch": batch, "tokens": tokens, "padded": family == "bert"}
                asks = self._models(found, batch * tokens, "forward", **what)
                self._add(f"forward {title}{smaller} {batch}×{tokens}", asks, found["auto"])

    def decode(self) -> None:
        """Greedy decoding of OPT."""
        cells = [(batch, tokens) for batch in BATCHES for tokens in PROMPTS]
        for smaller, (batch, tokens), found in self._loaded("opt", cells):
            new = 4 if self.options.tiny else NEW
            asks = self._models(found, batch * tokens, "generate", batch=batch, tokens=tokens, new=new)
            self._add(f"{new} new tokens, {FAMILIES['opt']}{smaller} {batch}×{tokens}", asks, found["auto"])

    def _loaded(self, family: str, cells: list[tuple[int, int]]) -> Any:
        """Each cell once a model is made for it: what is smaller in that, and who may compute attention."""
        for is_large in (False, True):
            chosen = [cell for cell in self._few(cells) if (cell[0] * cell[1] >= MANY) == is_large]
            fields: dict[str, Any] = {**SMALLER} if is_large else {}
            fields |= TINY | FURTHER[family] if self.options.tiny else {}
            if chosen:
                fields |= {"eos_token_id": None} if family == "opt" else {}
                found = self.worker.ask("make", family=family, dtype=DTYPE, fields=fields)
                self._same_numbers(family, found["accepted"])
            for cell in chosen:
                yield SMALLER_IS if is_large else "", cell, found
            self.worker.ask("forget")

    def _same_numbers(self, family: str, names: list[str]) -> None:
        for name in names:
            found = self.worker.ask("difference", backend=name, padded=True)["difference"]
            if not found < MOST_DIFFERENCE:
                sys.exit(f"{self.framework} {family}: {name} differs from auto by {found:.1e}: nothing to compare.")

    def _models(self, found: Mapping[str, Any], size: int, do: str, /, **what: Any) -> dict[str, Callable[[], float]]:
        """The model as "auto" makes it, and with every other backend."""
        return {
            name: self._ask(do, backend="auto" if name == found["auto"] else name, **what)
            for name in found["accepted"]
            if self._is_worth(name, size)
        }

    def _add(self, what: str, asks: Mapping[str, Callable[[], float]], auto: str) -> None:
        """A cell: ms of each, and how far auto's is from the best."""
        asks, reasons = usable(asks)
        found = in_time(asks, rounds=self.options.rounds, seconds=self.options.seconds)
        middle = medians(found)
        ratio = self.ratios[what] = middle[auto] / min(middle.values())
        fastest = {name: min(seconds) for name, seconds in found.items()}
        noise = max(spread(seconds) for seconds in found.values())
        self.figures[f"{self.framework}, {what}"] = {
            **{f"{name}, ms": seconds * 1e3 for name, seconds in middle.items()},
            GOAL: ratio,
            "of the fastest measurements": fastest[auto] / min(fastest.values()),
            "half of the measurements lie within": noise,
            "auto": auto,
            **reasons,
        }

    def _ask(self, do: str, **what: Any) -> Callable[[], float]:
        return lambda: float(self.worker.ask(do, **what)["seconds"])

    def _is_worth(self, name: str, tokens: int) -> bool:
        return name != UNFUSED or self.device["kind"] != "cpu" or tokens <= MOST_UNFUSED

    def _few(self, cells: list[Any]) -> list[Any]:
        """All, or with --tiny the first and the last."""
        return [cells[0], cells[-1]] if self.options.tiny else cells


def main() -> None:
    options = _options()
    parts, figures = options.parts or PARTS, {}
    with tempfile.TemporaryDirectory() as folder:
        site = FakeSite(Path(folder))
        site.plugin("outside", MANIFEST)
        site.write(site.path, {"outside_flax.py": OUTSIDE_FLAX, "outside_torch.py": OUTSIDE_TORCH})
        path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        if "start" in parts and "flax" in options.frameworks:
            figures |= _start(options)
        for framework in options.frameworks:
            peer = Peer(python=sys.executable, file=FRAMEWORKS[framework], env={"PYTHONPATH": path})
            with running({framework: peer}) as workers:
                bench = Bench(framework, workers[framework], options)
                for part in parts:
                    if part != "start":
                        bench.measure(part)
            figures |= bench.figures
    if options.record or not (options.parts or options.tiny):
        is_part = bool(options.parts) or len(options.frameworks) < len(FRAMEWORKS)
        record("backends", figures, part=is_part, folder=options.results)
    else:
        show(figures)


def _start(options: argparse.Namespace) -> dict[str, Any]:
    """Whole processes that make a model and generate: programs compiled, or found where an earlier one left them."""
    fields = TINY | FURTHER["opt"] if options.tiny else {}
    with tempfile.TemporaryDirectory() as cache:
        commands = {
            name: [sys.executable, "-c", START.format(fields=fields, backend=name)] for name in ("jit", "jit-cached")
        }
        found = seconds_of_commands(commands, runs=2 if options.tiny else 5, env={"XDG_CACHE_HOME": cache})
    middle = medians(found)
    return {
        f"flax, process to 8 tokens of {FAMILIES['opt']}": {
            **{f"{name}, s": seconds for name, seconds in middle.items()},
            "jit / jit-cached": middle["jit"] / middle["jit-cached"],
        }
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"only these of {', '.join(PARTS)}; nothing is recorded"
    )
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS))
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each, at most")
    parser.add_argument(
        "--seconds", type=float, default=5, help="for each cell; two measurements there are in any case"
    )
    parser.add_argument("--tiny", action="store_true", help="small models and few cells: does it run?")
    parser.add_argument("--record", action="store_true", help="put figures of parts in the places of older ones")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where figures are recorded")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    main()
