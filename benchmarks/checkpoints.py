"""A checkpoint of 2.6 GB, made on the spot and sharded: loading, saving, and verifying it, warm.

Loading is held against a copy of the same bytes into fresh pages and against safetensors' own reader for Flax plus the
transposes that it leaves to do; saving against plain writes with fsync. Memory is anonymous memory of a fresh process.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import jax
import numpy as np
from measure import medians, record, seconds_of_functions
from safetensors.flax import load_file

from automodels.checkpoint.keymap import TRANSPOSED
from automodels.checkpoint.reader import Checkpoint
from flax_bert import BertConfig, FlaxBertModel
from flax_bert.keymap import KEYMAP

CONFIG = BertConfig(hidden_size=2048, intermediate_size=8192, num_hidden_layers=12, num_attention_heads=16)
SHARD = "500MB"
RUNS = 5
PEAK = """
import json, sys, threading, time
import jax, flax_bert.modeling
from flax_bert import FlaxBertModel
jax.numpy.zeros(1).block_until_ready()
def anonymous():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))
peak, running = 0, True
def sample():
    global peak
    while running:
        peak = max(peak, anonymous()); time.sleep(0.002)
before = anonymous(); thread = threading.Thread(target=sample); thread.start()
model = FlaxBertModel.from_pretrained(sys.argv[1]); jax.block_until_ready(model.params)
running = False; thread.join()
size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
print(json.dumps({"peak": max(peak, anonymous()) - before, "parameters": size}))
"""


def memcpy(folder: Path) -> None:
    """Every tensor copied into fresh private pages, which is what memory for arrays of this size is made of.

    An allocator would hand out pages that are in use already, and shared pages, the default of `mmap`, are slower.
    """
    kept = []
    for view in Checkpoint.open(folder).values():
        fresh = mmap.mmap(-1, max(view.nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        np.copyto(
            np.frombuffer(fresh, view.dtype, view.nbytes // view.dtype.itemsize).reshape(view.shape), view.numpy()
        )
        kept.append(fresh)
    del kept


def load(folder: Path) -> None:
    model = FlaxBertModel.from_pretrained(folder)
    jax.block_until_ready(model.params)


def save(model: FlaxBertModel, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    model.save_pretrained(target, max_shard_size=SHARD, naming="flax")


def peer(folder: Path) -> None:
    """safetensors' reader for Flax, shard by shard, and the transposes that Flax's layout needs."""
    params = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            found = KEYMAP.tensor(KEYMAP.parameter(name)[0])
            params[name] = jax.device_put(np.asarray(tensor).T) if found[1] is TRANSPOSED else tensor
    jax.block_until_ready(params)


def plain_writes(folder: Path, target: Path) -> None:
    """The bytes of every tensor, written and synced, one file for each shard."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    checkpoint = Checkpoint.open(folder)
    for file in checkpoint.files:
        with (target / file).open("wb") as stream:
            for view in checkpoint.values():
                if os.path.basename(view.file.path) == file:
                    stream.write(view.numpy().data)
            stream.flush()
            os.fsync(stream.fileno())


def peak(folder: Path) -> float:
    done = subprocess.run([sys.executable, "-c", PEAK, str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["peak"] / found["parameters"]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        hub, flax = Path(scratch) / "hub", Path(scratch) / "flax"
        model = FlaxBertModel(CONFIG)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
        model.save_pretrained(hub, max_shard_size=SHARD)
        model.save_pretrained(flax, max_shard_size=SHARD, naming="flax")
        target = Path(scratch) / "target"
        writers = {"ours": partial(save, model, target), "plain": partial(plain_writes, flax, target)}
        saving = medians(seconds_of_functions(writers, runs=5))
        del writers
        shutil.rmtree(target)
        model = None  # its memory is wanted back
        gc.collect()
        loading = medians(
            seconds_of_functions(
                {
                    "memcpy": lambda: memcpy(hub),
                    "hub": lambda: load(hub),
                    "peer": lambda: peer(hub),
                    "flax": lambda: load(flax),
                    "verify": lambda: Checkpoint.open(hub),
                },
                runs=RUNS,
            )
        )
        figures = {
            "parameters, GB": size / 1e9,
            "memcpy into fresh pages, s": loading["memcpy"],
            "Hub layout into JAX, s": loading["hub"],
            "Hub layout / memcpy (limit 1.7)": loading["hub"] / loading["memcpy"],
            "safetensors load_file and transposes, s": loading["peer"],
            "load_file and transposes / ours (goal 2)": loading["peer"] / loading["hub"],
            "peak anonymous memory / parameters (limit 1.03)": peak(hub),
            "tree's layout into JAX, s (limit 0.1)": loading["flax"],
            "tree's layout, anonymous memory / parameters": peak(flax),
            "sharded save, s": saving["ours"],
            "plain writes and fsync, s": saving["plain"],
            "save / plain writes (limit 1.3)": saving["ours"] / saving["plain"],
            "headers and index verified, ms (limit 50)": loading["verify"] * 1e3,
        }
    record("checkpoints", figures)


if __name__ == "__main__":
    main()
