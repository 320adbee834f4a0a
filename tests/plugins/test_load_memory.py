"""Loading needs the memory of the parameters and of one tensor; what lies right in the file is not even copied."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from automodels.checkpoint.keymap import SAME
from automodels.checkpoint.plan import AbstractParameter, make_plan
from automodels.checkpoint.reader import Checkpoint
from flax_bert.keymap import KEYMAP
from flax_runtime.filling import fill

STATUS = Path("/proc/self/status")
LARGE = {"vocab_size": 4096, "hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
SMALL = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
BOTH = {"model_type": "bert", "num_hidden_layers": 4, "max_position_embeddings": 128}
LARGEST = 4096 * 1024 * 4
MARGIN = 32 << 20  # the interpreter, tracing, and memory that malloc keeps; a second copy would be 200 MB
PROGRAM = """
import sys
import jax
from automodels import AutoModel

small, large = sys.argv[1:]
AutoModel.from_pretrained(small)  # so that everything is imported, and tracing has filled its caches
print("ready", flush=True)
sys.stdin.readline()
model = AutoModel.from_pretrained(large)
jax.block_until_ready(model.params)
print(sum(leaf.nbytes for leaf in jax.tree.leaves(model.params)), flush=True)
sys.stdin.readline()
"""


def shapes(config: dict[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a BERT's tensors, as they stand in a file."""
    width, wide = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], width)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], width)
    yield "embeddings.token_type_embeddings.weight", (2, width)
    dense = {"pooler.dense": (width, width)}
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{i}" for i in range(config["num_hidden_layers"])):
        dense |= {f"{layer}.attention.{part}": (width, width) for part in ("self.query", "self.key", "self.value")}
        dense |= {f"{layer}.attention.output.dense": (width, width)}
        dense |= {f"{layer}.intermediate.dense": (wide, width), f"{layer}.output.dense": (width, wide)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in dense.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)


def write(folder: Path, config: dict[str, int], *, dtype: str = "F32", aligned: bool = True) -> Path:
    """A checkpoint of random numbers; its data starts on 64 bytes, or between two multiples of 64."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BOTH | config))
    size, end, header = {"F32": 4, "F16": 2}[dtype], 0, {}
    for name, shape in shapes(BOTH | config):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end := end + size * math.prod(shape)]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64 + (0 if aligned else 4))
    random = np.random.default_rng(0)
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, shape in shapes(BOTH | config):
            stream.write(random.random(math.prod(shape), np.float32).astype(f"<f{size}").tobytes())
    return folder


def anonymous(pid: int) -> int:
    """Bytes of a process that stand in memory and in no file."""
    return int(re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]) * 1024


@pytest.mark.skipif(
    not STATUS.exists() or "RssAnon" not in STATUS.read_text(), reason="only Linux tells a process's anonymous memory"
)
@pytest.mark.parametrize(("dtype", "aligned"), [("F32", True), ("F32", False), ("F16", True)])
def test_loading_takes_the_memory_of_the_parameters_and_of_one_tensor(tmp_path, dtype, aligned):
    small = write(tmp_path / "small", SMALL, dtype=dtype, aligned=aligned)
    large = write(tmp_path / "large", LARGE, dtype=dtype, aligned=aligned)
    command = [sys.executable, "-c", PROGRAM, str(small), str(large)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        before = anonymous(process.pid)
        answers: list[str] = []
        waiting = threading.Thread(target=lambda: answers.append(process.stdout.readline()))

        process.stdin.write("go\n")
        process.stdin.flush()
        waiting.start()
        peak = before
        while waiting.is_alive():
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.0005)
        peak = max(peak, anonymous(process.pid))
        process.communicate("end\n")

    parameters = int(answers[0])
    assert parameters > 200e6
    assert peak - before <= parameters + LARGEST + MARGIN


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="arrays of other devices lie in their own memory")
def test_tensors_that_lie_right_in_the_file_are_used_in_place(tmp_path):
    checkpoint = Checkpoint.open(write(tmp_path / "small", SMALL))
    parameters = {}
    for view in checkpoint.values():
        path, layout = KEYMAP.parameter(view.name)
        shape = view.shape if layout is SAME else view.shape[::-1]
        parameters[path] = AbstractParameter(shape=shape, dtype=np.dtype(np.float32))
    plan = make_plan(checkpoint, parameters, KEYMAP)

    arrays = fill(plan)

    mapped = np.frombuffer(plan.assignments[0].tensor.file.mapped(), np.uint8).ctypes.data
    for assignment in plan.assignments:
        in_place = arrays[assignment.parameter].unsafe_buffer_pointer() == mapped + assignment.tensor.start
        assert in_place == (assignment.layout is SAME)
