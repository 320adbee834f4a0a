"""What the comparisons with transformers share: who takes part, figures, the command's options, its run."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bars import draw
from measure import RESULTS, medians, record, show
from workers import Peer, spread

OURS, FLAX, TORCH, COMPILED = "ours", "transformers Flax", "torch", "torch.compile"
MOST_DIFFERENCE = 1e-3  # of root mean squares


class Comparison:
    """The peers, where checkpoints lie, how often to measure; figures and groups of bars gather here."""

    def __init__(self, peers: Mapping[str, Peer], scratch: Path, options: argparse.Namespace) -> None:
        self.peers, self.scratch, self.options = peers, scratch, options
        self.figures: dict[str, Any] = {}
        self.groups: dict[str, dict[str, float]] = {}

    def make(self) -> None:
        """Writes the checkpoints; for a benchmark to define, beside a method for each of its parts."""
        raise NotImplementedError

    def add(self, what: str, found: Mapping[str, list[float]], goals: Mapping[str, str]) -> dict[str, float]:
        """Our median in ms, and the others' as ratios to it."""
        middle = medians(found)
        self.figures[f"{what}, ours, ms"] = middle[OURS] * 1e3
        for name, seconds in middle.items():
            if name != OURS:
                self.figures[f"{what}, {name} / ours{goals.get(name, '')}"] = seconds / middle[OURS]
        if all(len(seconds) > 1 for seconds in found.values()):
            noise = max(spread(seconds) for seconds in found.values())
            self.figures[f"{what}, half of the measurements lie within"] = noise
        self.groups[what] = middle
        return middle

    def same_numbers(self, what: str, answers: Mapping[str, Any]) -> None:
        """All compute the same, or there is nothing to compare.

        By root mean squares: GPT-Neo does not scale its scores, and with random parameters rounding grows to a few
        thousandths in single logits, between transformers' two frameworks as between either and ours.
        """
        ours = list(_flat(answers[OURS]))
        size = math.hypot(*ours)
        for name in answers:
            if name == OURS:
                continue
            difference = math.dist(ours, list(_flat(answers[name]))) / size
            self.figures[f"relative difference of numbers{what}, ours and {name}"] = difference
            if difference > MOST_DIFFERENCE:
                sys.exit(f"The outputs of {name} and ours differ by {difference:.1e} of them: nothing to compare.")


def options_of(
    title: str, environment: str, parts: Sequence[str], *, rounds: int, peers: Sequence[str] = ("flax", "torch")
) -> argparse.Namespace:
    """The command's options; ends it where an interpreter of a peer, or a part, is not there."""
    parser = argparse.ArgumentParser(description=title)
    made = Path(sys.prefix)  # where tox has put both
    for peer in peers:
        parser.add_argument(f"--{peer}-peer", metavar="PYTHON", default=str(made / f"{peer}-peer" / "bin" / "python"))
    parser.add_argument("--rounds", type=int, default=rounds, help="measurements of each")
    parser.add_argument("--processes", type=int, default=3, help="processes of each that load, or start")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"only these of {', '.join(parts)}; nothing is recorded"
    )
    parser.add_argument("--record", action="store_true", help="put figures of parts in the places of older ones")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(unknown)}")
    for python in (getattr(options, f"{peer}_peer") for peer in peers):
        if not shutil.which(python):
            parser.error(f"no interpreter at {python}: `tox run -e {environment}` makes the environments")
    options.compile = options.compile and shutil.which("c++") is not None
    return options


def compare(
    name: str,
    title: str,
    kind: type[Comparison],
    peers: Mapping[str, Peer],
    options: argparse.Namespace,
    parts: Sequence[str],
) -> None:
    """Measures the parts that the options ask for and prints the figures; of all parts, records and draws them."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = kind(peers, Path(scratch), options)
        bench.make()
        for part in options.parts or parts:
            getattr(bench, part)()
    if not options.parts:
        record(name, bench.figures)
        (RESULTS / f"{name}.svg").write_text(draw(title, bench.groups))
    elif options.record:
        record(name, bench.figures, part=True)
    else:
        show(bench.figures)


def _flat(numbers: Any) -> Iterator[float]:
    for number in numbers:
        if isinstance(number, list):
            yield from _flat(number)
        else:
            yield number
