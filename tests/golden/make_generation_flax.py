"""Makes the golden files of generation with transformers 4.57 in Flax, the last version that has it.

    python tests/golden/make_generation_flax.py            writes tests/golden/generation_flax/
    python tests/golden/make_generation_flax.py --check    computes everything anew and compares

The models are those of make_generation.py, whose batches are used too. golden.json has the cases, by name: the batch
and the options; golden.npz of `opt` and `neo` for each case `{case}_sequences`, filled up to the greatest length. There
is no generation here without an end, with several, or with blocked n-grams: the reference fails.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import transformers
from shared import HERE, run

END = 10
CASES = {
    "end": ("padded", {}),
    "min_length": ("even", dict(min_length=9)),
    "forced_bos_token_id": ("short", dict(forced_bos_token_id=7)),
    "forced_eos_token_id": ("padded", dict(forced_eos_token_id=9)),
    "suppress_tokens": ("padded", dict(suppress_tokens=[4, 7, 15, 36])),
    "begin_suppress_tokens": ("padded", dict(begin_suppress_tokens=[4, 10, 13, 15, 36])),
    "max_length": ("even", dict(max_length=12, max_new_tokens=None)),
}
CLASSES = {"opt": "FlaxOPTForCausalLM", "neo": "FlaxGPTNeoForCausalLM"}


def make(folder: Path) -> int:
    transformers.logging.set_verbosity_error()
    for name, kind in CLASSES.items():
        model = getattr(transformers, kind).from_pretrained(HERE / "generation" / name, from_pt=True)
        with np.load(HERE / "generation" / name / "golden.npz") as data:
            batches = dict(data)
        found = {}
        for case, (batch, options) in CASES.items():
            given = {part: batches[f"{batch}_{part}"] for part in ("input_ids", "attention_mask")}
            wanted = dict(max_new_tokens=14, pad_token_id=1, eos_token_id=END, do_sample=False)
            found[f"{case}_sequences"] = np.asarray(model.generate(**given, **{**wanted, **options}).sequences)
        (folder / name).mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / name / "golden.npz", **found)
    lines = [f"{json.dumps(case)}: {json.dumps(value)}" for case, value in CASES.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return len(CLASSES) * len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "generation_flax", make, lambda path: {})
