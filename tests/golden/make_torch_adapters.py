"""LoRA adapters as PEFT writes and applies them: `python tests/golden/make_torch_adapters.py`, with peft and torch.

The models are those of other golden files. With `--check`, the files are compared with what is installed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from shared import HERE, run

IDS = torch.tensor([[1, 5, 7, 2, 3], [1, 9, 2, 8, 4]])
SEQUENCE, OPT, NEO = "bert_tasks/sequence_odd", "opt_gptneo/opt", "opt_gptneo/neo"
PATTERNS = dict(
    target_modules=["query", "key", "attention.output.dense"],
    rank_pattern={"layer.0.attention.self.query": 2, "key": 5},
    alpha_pattern={r"encoder\.layer\.1\..*query": 3},
)
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": ("BertForSequenceClassification", SEQUENCE, dict(target_modules=["query", "value"])),
    "regex": ("BertForSequenceClassification", SEQUENCE, dict(target_modules=r".*\.layer\.1\..*dense")),
    "patterns": ("BertForSequenceClassification", SEQUENCE, PATTERNS),
    "stabilised": ("BertForSequenceClassification", SEQUENCE, dict(**PATTERNS, use_rslora=True)),
    "head": (
        "BertForSequenceClassification",
        SEQUENCE,
        dict(target_modules=["value"], modules_to_save=["classifier"], bias="lora_only"),
    ),
    "biases": ("BertForSequenceClassification", SEQUENCE, dict(target_modules=["key"], bias="all")),
    "table": ("BertForSequenceClassification", SEQUENCE, dict(target_modules=["word_embeddings", "query"])),
    "opt": ("OPTForCausalLM", OPT, dict(target_modules=["q_proj", "fc1"], fan_in_fan_out=True)),
    "neo": ("GPTNeoForCausalLM", NEO, dict(target_modules=["q_proj", "c_fc"], layers_to_transform=[1])),
}


def make_case(folder: Path, number: int, name: str, base: str, options: dict[str, Any]) -> None:
    torch.manual_seed(number)
    loaded = getattr(transformers, name).from_pretrained(HERE / base, attn_implementation="eager").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fan_in_fan_out, which linear layers have not
        model = get_peft_model(loaded, LoraConfig(r=3, lora_alpha=4, **options)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    said = json.loads((folder / "adapter_config.json").read_text())
    said["base_model_name_or_path"] = base
    said = {key: value for key, value in said.items() if key != "peft_version"}
    (folder / "adapter_config.json").write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    with torch.no_grad():
        logits = model(IDS).logits.numpy()
        model.merge_adapter()
        merged = model(IDS).logits.numpy()
        with model.disable_adapter():
            base_logits = model(IDS).logits.numpy()
    np.savez_compressed(folder / "golden.npz", logits=logits, merged=merged, base=base_logits)


def make(folder: Path) -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for number, (case, (name, base, options)) in enumerate(CASES.items()):
        make_case(folder / case, number, name, base, options)
    return len(CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "torch_adapters", make, load_file)
