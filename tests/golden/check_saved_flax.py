"""Holds files that automodels writes against transformers 4.57: msgpack against its Flax, safetensors against its PyTorch.

    python tests/golden/check_saved_flax.py

Every checkpoint of bert_flax/ is loaded by automodels, saved as flax_model.msgpack in one file and in several, and
loaded by the reference's class, which must find every parameter, nothing else, and compute the golden file's outputs.
The same, as safetensors under the Hub's names, goes into the PyTorch class of that version.
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

import flax_bert

HERE = Path(__file__).parent
SIZES = ("2KB", "5GB")  # many files, one file
TOLERANCE = 1e-5
RESULTS = ("logits", "prediction_logits", "seq_relationship_logits", "start_logits", "end_logits", "last_hidden_state")
TORCH_NAMES = {"FlaxBertForCausalLM": "BertLMHeadModel"}


def golden(case: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(inputs, expected results) of a case; without a decoder's padding, whose states no one defines."""
    with np.load(case / "golden.npz") as data:
        given = {name[3:]: data[name] for name in data.files if name.startswith("in_")}
        return given, {name: data[f"out_{name}"] for name in RESULTS if f"out_{name}" in data.files}


def unequal(model: Any, output: Any, case: Path) -> list[str]:
    given, expected = golden(case)
    counts = given["attention_mask"][..., None] if model.config.is_decoder else np.ones(())
    by = {name: float(np.abs((np.asarray(output[name]) - array) * counts).max()) for name, array in expected.items()}
    return [f"{name} differs by {one:.1e}" for name, one in by.items() if not one < TOLERANCE]


def check_flax(case: Path, name: str, size: str) -> list[str]:
    with tempfile.TemporaryDirectory() as target:
        ours = getattr(flax_bert, name).from_pretrained(case, strict=True)
        ours.save_pretrained(target, safe_serialization=False, max_shard_size=size)
        files = len(list(Path(target).glob("*.msgpack")))
        model, params = getattr(transformers, name).from_pretrained(target, _do_init=False)
    found = [f"{files} files"] if (files > 1) != (size == SIZES[0]) else []
    known = json.loads((case / "golden.json").read_text())["parameters"]
    loaded = {".".join(path): list(leaf.shape) for path, leaf in flatten_dict(params).items()}
    if loaded != known:
        found.append(f"parameters: {sorted(loaded.items() ^ known.items())}")
    return found + unequal(model, model(**golden(case)[0], params=params), case)


def check_torch(case: Path, name: str) -> list[str]:
    torch_name = TORCH_NAMES.get(name, name.removeprefix("Flax"))
    with tempfile.TemporaryDirectory() as target:
        getattr(flax_bert, name).from_pretrained(case, strict=True).save_pretrained(target)
        model, info = getattr(transformers, torch_name).from_pretrained(
            target, output_loading_info=True, attn_implementation="eager"
        )
    found = [f"{kind}: {sorted(keys)}" for kind, keys in info.items() if keys]
    found += [f"without values: {key}" for key, parameter in model.named_parameters() if parameter.is_meta]
    if found:
        return found
    given = {key: torch.from_numpy(array) for key, array in golden(case)[0].items()}
    with torch.no_grad():
        return unequal(model, model.eval()(**given), case)


def main() -> None:
    jax.config.update("jax_default_matmul_precision", "float32")
    warnings.simplefilter("ignore", FutureWarning)  # the reference warns that its Flax classes will go
    transformers.logging.set_verbosity_error()
    found = {}
    for case in sorted((HERE / "bert_flax").iterdir()):
        name = json.loads((case / "golden.json").read_text())["class"]
        for size in SIZES:
            found[f"{case.name}, msgpack, {size}"] = check_flax(case, name, size)
        found[f"{case.name}, torch"] = check_torch(case, name)
    wrong = {name: problems for name, problems in found.items() if problems}
    print(json.dumps({"saved": len(found), "wrong": wrong}, indent=1))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
