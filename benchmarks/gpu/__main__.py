"""Backends of Flax and of PyTorch on a GPU: whether they are right, and how fast, beside transformers and its limits.

`python benchmarks/gpu` does it all and writes results/gpu.json after each part; with --tiny, small shapes are computed
on whatever device there is, to see that everything runs. Nothing of ours has to be installed: see source_tree.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import source_tree
from measure import RESULTS, show, write
from parts import FILES, Bench

PARTS = ("equivalence", "prefill", "decode", "attention")


def main() -> None:
    options = _options()
    with source_tree.installed() as environment:
        if missing := source_tree.missing():
            sys.exit(f"Not installed: {', '.join(missing)}. Our core needs them.")
        bench = Bench(options, environment)
        kinds = bench.devices()
        if not options.tiny and "cuda" not in kinds:
            sys.exit(f"No GPU is seen, but {', '.join(sorted(kinds)) or 'nothing'}; --tiny tries the script on a CPU.")
        for part in PARTS:
            if not getattr(options, f"skip_{part}"):
                print(f"{part} …", flush=True)
                getattr(bench, part)()
                if options.results is not None:  # now: a lent machine may be taken away
                    write("gpu", bench.figures, part=options.add, folder=options.results)
    show(bench.figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small shapes on any device: does it run?")
    for part in PARTS:
        parser.add_argument(f"--skip-{part}", action="store_true")
    parser.add_argument("--frameworks", nargs="+", choices=FILES, default=list(FILES))
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each, at most")
    parser.add_argument("--cell-seconds", type=float, default=10, help="for measurements that are taken in turn")
    parser.add_argument("--seconds", type=float, default=120, help="for the cases of a backend in a type")
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="at once, for cases")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where gpu.json goes; with --tiny, nowhere")
    parser.add_argument("--add", action="store_true", help="leave figures of parts that are skipped in gpu.json")
    options = parser.parse_args()
    if options.tiny:
        options.rounds = min(options.rounds, 2)
    elif options.results is None:
        options.results = RESULTS
    return options


if __name__ == "__main__":
    main()
