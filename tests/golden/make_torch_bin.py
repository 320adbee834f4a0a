"""Makes tests/golden/torch_bin: small files of torch.save and the arrays that they hold.

python tests/golden/make_torch_bin.py            writes them
python tests/golden/make_torch_bin.py --check    compares what is there with what torch writes and reads today

"""

from __future__ import annotations

import collections
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent / "torch_bin"
TYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool,
    torch.complex64, torch.complex128,
)  # fmt: skip


def numbers(*shape: int, start: int = 0) -> torch.Tensor:
    count = int(np.prod(shape))
    return torch.arange(start, start + count, dtype=torch.float32).reshape(shape)


def cases() -> dict[str, tuple[dict, dict]]:
    """Name → (what is saved, options of torch.save)."""
    types = {f"t.{str(kind).removeprefix('torch.')}": numbers(2, 3, start=-2).abs().to(kind) for kind in TYPES}
    shared = numbers(4, 3)
    views = {
        "whole": shared,
        "tied": shared,
        "second_row": shared[1],
        "column": shared[:, 1],
        "transposed": shared.T,
        "every_other": shared[::2, 1:],
        "row_of_one": numbers(1, 5).T,
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
    }
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for place, parameter in enumerate(module.parameters()):
            parameter.copy_(numbers(*parameter.shape, start=place))
    marked = torch.nn.Parameter(numbers(2, 2))
    marked.note = "an attribute"
    parameters = collections.OrderedDict(p=torch.nn.Parameter(numbers(3)), marked=marked)
    training = {
        "epoch": 7,
        "lr": 0.5,
        "big": 1 << 40,
        "names": ["a", "b"],
        "shape": shared.shape,
        "kind": torch.float32,
    }
    return {
        "types": (types, {}),
        "views": (views, {}),
        "module": (module.state_dict(), {}),
        "parameters": (parameters, {}),
        "nested": ({"state_dict": module.state_dict(), **training}, {}),
        "protocol4": ({**views, **training}, {"pickle_protocol": 4}),
        "protocol5": (module.state_dict(), {"pickle_protocol": 5}),
        "legacy": ({"a": numbers(2)}, {"_use_new_zipfile_serialization": False}),
    }


def arrays(saved: dict) -> dict[str, np.ndarray]:
    """Name → array, as bytes for types that npz files do not keep; the key says which type it is."""
    found = {}
    for name, tensor in saved.get("state_dict", saved).items():
        if isinstance(tensor, torch.Tensor):
            kind = str(tensor.dtype).removeprefix("torch.")
            raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
            found[f"{name}|{kind}|{','.join(map(str, tensor.shape))}"] = raw
    return found


def make(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for name, (saved, options) in cases().items():
        torch.save(saved, directory / f"{name}.bin", **options)
        np.savez(directory / f"{name}.npz", **arrays(saved))
    shards = directory / "sharded"
    shards.mkdir(exist_ok=True)
    halves = [{"a.weight": numbers(2, 3)}, {"b.weight": numbers(3, start=9).bfloat16(), "c": numbers(1)}]
    weight_map = {}
    for number, half in enumerate(halves, 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save(half, shards / file)
        weight_map |= dict.fromkeys(half, file)
    index = {"metadata": {"total_size": 34}, "weight_map": weight_map}
    (shards / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")
    np.savez(directory / "sharded.npz", **arrays(halves[0] | halves[1]))


def check() -> None:
    """Today's torch writes and reads the same arrays; the files themselves may differ between versions."""
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary))
        for there in sorted(HERE.glob("*.npz")):
            new = np.load(Path(temporary) / there.name)
            old = np.load(there)
            assert sorted(new) == sorted(old), there.name
            assert all(np.array_equal(new[key], old[key]) for key in old), there.name
        for file in sorted(HERE.glob("*.bin")):
            old = np.load(file.with_suffix(".npz"))
            read = arrays(torch.load(file, weights_only=False))  # its own reader knows protocol 2 only
            assert all(np.array_equal(read[key], old[key]) for key in old), file.name
    print("the golden files of torch.save are what torch writes and reads")


if __name__ == "__main__":
    check() if "--check" in sys.argv else make(HERE)
