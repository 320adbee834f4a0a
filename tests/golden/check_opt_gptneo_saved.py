"""Holds OPT and GPT-Neo files that automodels writes against transformers 4.57: msgpack for Flax, safetensors for PyTorch.

    python tests/golden/check_opt_gptneo_saved.py

Every checkpoint of opt_gptneo_flax/ is loaded by automodels, saved, and loaded by the reference's class, which must
find every parameter, nothing else, and compute the golden file's outputs.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
import transformers
from flax.traverse_util import flatten_dict

import flax_gptneo
import flax_opt

HERE = Path(__file__).parent / "opt_gptneo_flax"
TOLERANCE = 1e-5


def ours(case: Path, name: str) -> Any:
    return getattr(flax_opt if "OPT" in name else flax_gptneo, name).from_pretrained(case, strict=True)


def unequal(output: Any, case: Path) -> list[str]:
    """The result where tokens are; states of padding no one defines."""
    with np.load(case / "golden.npz") as data:
        expected = data["out_logits" if "out_logits" in data.files else "out_last_hidden_state"]
        counts = data["in_attention_mask"][..., None]
    difference = float(np.abs((np.asarray(output[0]) - expected) * counts).max())
    return [] if difference < TOLERANCE else [f"the result differs by {difference:.1e}"]


def inputs(case: Path) -> dict[str, np.ndarray]:
    with np.load(case / "golden.npz") as data:
        return {name.removeprefix("in_"): data[name] for name in data.files if name.startswith("in_")}


def check_flax(case: Path, name: str, target: str) -> list[str]:
    ours(case, name).save_pretrained(target, safe_serialization=False)
    model, params = getattr(transformers, name).from_pretrained(target, _do_init=False)
    known = json.loads((case / "golden.json").read_text())["parameters"]
    loaded = {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(params).items()}
    wrong = [f"parameters: {sorted(loaded.items() ^ known.items())}"] if loaded != known else []
    return wrong + unequal(model(**inputs(case), params=params), case)


def check_torch(case: Path, name: str, target: str) -> list[str]:
    ours(case, name).save_pretrained(target)
    model, info = getattr(transformers, name.removeprefix("Flax")).from_pretrained(
        target, output_loading_info=True, attn_implementation="eager"
    )
    given = {key: torch.from_numpy(array) for key, array in inputs(case).items()}
    with torch.no_grad():
        output = model.eval()(**given)
    return [f"{kind}: {sorted(keys)}" for kind, keys in info.items() if keys] + unequal(output, case)


def main() -> None:
    jax.config.update("jax_default_matmul_precision", "float32")
    warnings.simplefilter("ignore", FutureWarning)  # the reference warns that its Flax classes will go
    transformers.logging.set_verbosity_error()
    found = {}
    for case in sorted(HERE.iterdir()):
        name = json.loads((case / "golden.json").read_text())["class"]
        for framework, check in (("flax", check_flax), ("torch", check_torch)):
            with tempfile.TemporaryDirectory() as target:
                found[f"{case.name}, {framework}"] = check(case, name, target)
    wrong = {name: problems for name, problems in found.items() if problems}
    print(json.dumps({"saved": len(found), "wrong": wrong}, indent=1))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
