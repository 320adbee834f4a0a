"""Makes the golden files of generation with transformers 4.57 in Flax, the last version that has it.

    python tests/golden/make_generation_flax.py            writes tests/golden/generation_flax/
    python tests/golden/make_generation_flax.py --check    computes everything anew and compares

The models are those of make_generation.py, whose batches are used too. Of each, golden.json has the cases, by name: the
batch and the options; golden.npz for each case `{case}_sequences`, filled up to the greatest length. There
is no generation here without an end, with several, or with blocked n-grams: the reference fails. Nor is there a search in
which some beams end: the reference does not compare them with those that go on to the greatest length. Nor `min_length`:
it lets a sequence end one token later than PyTorch does.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from drawn import drawn_weights
from shared import HERE, run

END = 10
CASES = {
    "end": ("padded", {}),
    "forced_bos_token_id": ("short", dict(forced_bos_token_id=7)),
    "forced_eos_token_id": ("padded", dict(forced_eos_token_id=9)),
    "suppress_tokens": ("padded", dict(suppress_tokens=[4, 7, 15, 36])),
    "begin_suppress_tokens": ("padded", dict(begin_suppress_tokens=[4, 10, 13, 15, 36])),
    "max_length": ("even", dict(max_length=12, max_new_tokens=None)),
    "never_ends": ("padded", dict(suppress_tokens=[END])),
    "beams": ("padded", dict(num_beams=4, suppress_tokens=[END])),
    "beams_several": ("padded", dict(num_beams=3, num_return_sequences=3, suppress_tokens=[END], length_penalty=0.5)),
    "beams_begin": ("short", dict(num_beams=3, suppress_tokens=[END], forced_bos_token_id=7)),
}
LARGE_CASES = {
    "greedy": ("padded", dict(suppress_tokens=[END])),
    "beams": ("padded", dict(num_beams=4, num_return_sequences=2, suppress_tokens=[END])),
}
CLASSES = {"opt": "OPTForCausalLM", "neo": "GPTNeoForCausalLM"}
NEW = 14


def make_case(folder: Path, model: Any, cases: dict[str, Any]) -> None:
    with np.load(HERE / "generation" / folder.name / "golden.npz") as data:
        batches = dict(data)
    found = {}
    for case, (batch, options) in cases.items():
        given = {part: batches[f"{batch}_{part}"] for part in ("input_ids", "attention_mask")}
        wanted = dict(max_new_tokens=NEW, pad_token_id=1, eos_token_id=END, do_sample=False)
        found[f"{case}_sequences"] = np.asarray(model.generate(**given, **{**wanted, **options}).sequences)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "golden.npz", **found)
    lines = [f"{json.dumps(case)}: {json.dumps(value)}" for case, value in cases.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def large(name: str, kind: str) -> Any:
    """A model of a published size with drawn weights, which it takes from a file of PyTorch."""
    config = transformers.AutoConfig.from_pretrained(HERE / "generation" / name)
    model = getattr(transformers, kind)(config)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items() if key != "lm_head.weight"}
    weights = {key: torch.tensor(value) for key, value in drawn_weights(shapes).items()}
    model.load_state_dict(weights, strict=False)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        return getattr(transformers, f"Flax{kind}").from_pretrained(scratch, from_pt=True)


def make(folder: Path) -> int:
    transformers.logging.set_verbosity_error()
    for name, kind in CLASSES.items():
        tiny = getattr(transformers, f"Flax{kind}").from_pretrained(HERE / "generation" / name, from_pt=True)
        make_case(folder / name, tiny, CASES)
        make_case(folder / f"{name}_125m", large(f"{name}_125m", kind), LARGE_CASES)
    return len(CLASSES) * (len(CASES) + len(LARGE_CASES))


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "generation_flax", make, lambda path: {})
