"""Makes the golden files of generation with the reference implementation, transformers 5 in PyTorch.

    python tests/golden/make_generation.py            writes tests/golden/generation/
    python tests/golden/make_generation.py --check    computes everything anew and compares

Each of `opt` and `neo` is a tiny random checkpoint as transformers saves it; `opt_125m` and `neo_125m` are configs of
the published sizes, whose weights drawn.py draws anew; `text` is one with the vocabulary of bpe/. Beside them golden.json
has the cases, by name: the batch and the options; and golden.npz the batches and for each case `{case}_sequences`, for
beams also `{case}_scores`. Of sampling, whose tokens no two implementations draw alike, it has `{case}_scores` [R, V] of the
first step, behind all changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from drawn import drawn_weights
from shared import HERE, run

ENDS = [9, 33]
OPT = dict(
    vocab_size=37,
    hidden_size=16,
    num_attention_heads=4,
    num_hidden_layers=2,
    ffn_dim=24,
    max_position_embeddings=48,
    init_std=0.5,
    pad_token_id=1,
    bos_token_id=2,
    eos_token_id=None,
)
NEO = dict(
    vocab_size=37,
    hidden_size=16,
    num_heads=4,
    num_layers=2,
    intermediate_size=24,
    max_position_embeddings=48,
    attention_types=[[["global", "local"], 1]],
    window_size=4,
    initializer_range=0.5,
    bos_token_id=2,
    eos_token_id=None,
    pad_token_id=1,
)
TINY = {"opt": ("OPTForCausalLM", "OPTConfig", OPT), "neo": ("GPTNeoForCausalLM", "GPTNeoConfig", NEO)}
SEEDS = {"opt": 21, "neo": 22}  # greedy texts of these do not run in circles at once
LARGE = {
    "opt_125m": ("OPTForCausalLM", "OPTConfig", dict(eos_token_id=None)),
    "neo_125m": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        dict(
            hidden_size=768,
            num_layers=12,
            num_heads=12,
            attention_types=[[["global", "local"], 6]],
            window_size=256,
            eos_token_id=None,
            pad_token_id=1,
            bos_token_id=2,
        ),
    ),
}
# Options that look at the tokens so far are tried on prompts of one length: the reference counts padding as tokens.
CASES = {
    "greedy": ("padded", {}),
    "ends": ("padded", dict(eos_token_id=ENDS)),
    "one_end": ("padded", dict(eos_token_id=10)),
    "min_new_tokens": ("padded", dict(eos_token_id=ENDS, min_new_tokens=6)),
    "min_length": ("even", dict(eos_token_id=ENDS, min_length=9)),
    "max_length": ("even", dict(max_length=12, max_new_tokens=None)),
    "repetition_penalty": ("padded", dict(repetition_penalty=1.8)),
    "no_repeat_ngram_size": ("even", dict(no_repeat_ngram_size=2)),
    "no_repeat_unigram": ("even", dict(no_repeat_ngram_size=1)),
    "bad_words_ids": ("even", dict(bad_words_ids=[[4], [15, 10], [30, 2, 4], [10]], eos_token_id=10)),
    "sequence_bias": ("even", dict(sequence_bias=[[[5], 2.5], [[4], -3.0], [[15, 10], -9.0], [[24, 24, 6], 9.0]])),
    "suppress_tokens": ("padded", dict(suppress_tokens=[4, 7, 10, 15, 36])),
    "begin_suppress_tokens": ("padded", dict(begin_suppress_tokens=[4, 10, 13, 15, 36])),
    "forced_bos_token_id": ("short", dict(forced_bos_token_id=7, begin_suppress_tokens=[7, 9, 10, 12])),
    "forced_eos_token_id": ("padded", dict(forced_eos_token_id=[9, 33])),
    "exponential_decay_length_penalty": ("padded", dict(eos_token_id=ENDS, exponential_decay_length_penalty=(3, 1.4))),
    "renormalize_logits": ("padded", dict(renormalize_logits=True)),
    "many": (
        "even",
        dict(
            eos_token_id=ENDS,
            min_new_tokens=3,
            repetition_penalty=1.3,
            no_repeat_ngram_size=3,
            suppress_tokens=[6],
            sequence_bias=[[[5], 1.5], [[10], 2.0]],
            exponential_decay_length_penalty=(2, 1.2),
            forced_eos_token_id=33,
        ),
    ),
    "beams": ("padded", dict(num_beams=4)),
    "beams_ends": ("padded", dict(num_beams=3, num_return_sequences=3, eos_token_id=ENDS)),
    "beams_early": ("padded", dict(num_beams=3, num_return_sequences=2, eos_token_id=ENDS, early_stopping=True)),
    "beams_never": ("padded", dict(num_beams=3, eos_token_id=ENDS, early_stopping="never", length_penalty=2.0)),
    "beams_short": ("padded", dict(num_beams=3, num_return_sequences=3, eos_token_id=ENDS, length_penalty=-2.0)),
    "beams_long": ("padded", dict(num_beams=5, num_return_sequences=5, eos_token_id=10, length_penalty=3.0)),
    "beams_options": (
        "even",
        dict(
            num_beams=4,
            num_return_sequences=2,
            eos_token_id=ENDS,
            min_new_tokens=3,
            no_repeat_ngram_size=2,
            repetition_penalty=1.2,
            bad_words_ids=[[4], [15, 10]],
            forced_eos_token_id=10,
        ),
    ),
}
SAMPLING = {
    "sampling": dict(top_k=0),
    "temperature": dict(top_k=0, temperature=0.6),
    "top_k": dict(top_k=5),
    "top_p": dict(top_k=0, top_p=0.8),
    "min_p": dict(top_k=0, min_p=0.2),
    "typical_p": dict(top_k=0, typical_p=0.6),
    "epsilon_cutoff": dict(top_k=0, epsilon_cutoff=0.05),
    "eta_cutoff": dict(top_k=0, eta_cutoff=0.3),
    "renormalized_sampling": dict(top_k=9, renormalize_logits=True),
    "all_of_sampling": dict(
        temperature=1.7, top_k=20, top_p=0.95, min_p=0.01, typical_p=0.9, epsilon_cutoff=0.01, eta_cutoff=0.01
    ),
    "beam_sampling": dict(num_beams=3, temperature=0.5, top_k=0, top_p=0.2, eos_token_id=ENDS),
}
TEXT = dict(OPT, vocab_size=520, init_std=0.4)
PROMPTS = ["The first", "of the checkpoint", "one"]
STOP = ["t what", "t bya", "utpu", "eyke"]  # begin inside a token and end inside another
STOPS = {  # without a token that ends sequences the reference goes on with rows that have stopped
    "stop_strings": dict(stop_strings=STOP, eos_token_id=4),
    "beams_stop_strings": dict(stop_strings=STOP, eos_token_id=4, num_beams=3),
}
LARGE_CASES = {"greedy": ("padded", {}), "beams": ("padded", dict(num_beams=4, num_return_sequences=2))}
NEW = 14


def batches(vocabulary: int) -> dict[str, dict[str, np.ndarray]]:
    """`padded` on the left by tokens 1, `even` prompts of one length, `short` ones of one token."""
    rng = np.random.default_rng(0)
    even = rng.integers(3, vocabulary, (3, 5))
    padded = rng.integers(3, vocabulary, (4, 7))
    mask = np.ones_like(padded)
    for row, kept in enumerate([7, 1, 4, 6]):
        padded[row, : 7 - kept] = 1
        mask[row, : 7 - kept] = 0
    short = np.array([[2], [9]])
    return {
        "padded": {"input_ids": padded, "attention_mask": mask},
        "even": {"input_ids": even, "attention_mask": np.ones_like(even)},
        "short": {"input_ids": short, "attention_mask": np.ones_like(short)},
    }


def generate(model: Any, batch: dict[str, np.ndarray], options: dict[str, Any]) -> Any:
    tensors = {name: torch.tensor(array) for name, array in batch.items()}
    wanted = dict(max_new_tokens=NEW, pad_token_id=1, do_sample=False, return_dict_in_generate=True, output_scores=True)
    with torch.no_grad():
        return model.generate(**tensors, **{**wanted, **options})


def make_case(folder: Path, model: Any, cases: dict[str, Any], vocabulary: int) -> None:
    known = batches(vocabulary)
    arrays = {f"{batch}_{name}": array for batch, values in known.items() for name, array in values.items()}
    for case, (batch, options) in cases.items():
        result = generate(model, known[batch], options)
        arrays[f"{case}_sequences"] = result.sequences.numpy()
        if options.get("num_beams", 1) > 1:
            arrays[f"{case}_scores"] = result.sequences_scores.numpy()
        else:
            refuse_ties(case, result.scores)
    refuse_equals(cases, arrays)
    sampling = SAMPLING if cases is CASES else {}
    for case, options in sampling.items():
        result = generate(model, known["padded"], {**options, "do_sample": True, "max_new_tokens": 1})
        arrays[f"{case}_scores"] = result.scores[0].numpy()
    save(
        folder,
        {**cases, **{case: ("padded", {**options, "do_sample": True}) for case, options in sampling.items()}},
        arrays,
    )


def make_texts(folder: Path) -> None:
    """Texts that end sequences; the prompts are texts as well."""
    torch.manual_seed(1)  # of these, greedy texts have the stop strings
    model = transformers.OPTForCausalLM(transformers.OPTConfig(**TEXT)).eval()
    model.save_pretrained(folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(HERE / "bpe" / "tokenizer.json"), pad_token="<pad>", padding_side="left"
    )
    batch = {
        name: np.array(value) for name, value in tokenizer(PROMPTS, padding=True).items() if name != "token_type_ids"
    }
    arrays = {f"texts_{name}": array for name, array in batch.items()}
    for case, options in STOPS.items():
        result = generate(model, batch, {**options, "tokenizer": tokenizer})
        arrays[f"{case}_sequences"] = result.sequences.numpy()
        assert any(stop in tokenizer.decode(row) for stop in STOP for row in result.sequences), case
    save(folder, {case: ("texts", options) for case, options in STOPS.items()}, arrays)


def save(folder: Path, cases: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    np.savez_compressed(folder / "golden.npz", **arrays)
    lines = [f"{json.dumps(case)}: {json.dumps(value)}" for case, value in cases.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def refuse_ties(case: str, scores: Any) -> None:
    """Golden tokens whose choice hangs by a rounding error would be no help."""
    for step in scores:
        best, second = step.topk(2).values.unbind(-1)
        assert ((best - second > 1e-3) | (second < -1e30)).all() or "forced_eos" in case, case


def refuse_equals(cases: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """An option that changes nothing would be no test of it."""
    for case, (batch, options) in cases.items():
        if case != "renormalize_logits" and batch == "padded" and options and options.get("num_beams", 1) == 1:
            assert arrays[f"{case}_sequences"].tolist() != arrays["greedy_sequences"].tolist(), case


def make(folder: Path) -> int:
    transformers.logging.set_verbosity_error()
    for name, (kind, config_kind, sizes) in TINY.items():
        config = getattr(transformers, config_kind)(**sizes)
        torch.manual_seed(SEEDS[name])
        model = getattr(transformers, kind)(config).eval()
        (folder / name).mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder / name)
        make_case(folder / name, model, CASES, config.vocab_size)
    make_texts(folder / "text")
    for name, (kind, config_kind, sizes) in LARGE.items():
        config = getattr(transformers, config_kind)(**sizes)
        model = getattr(transformers, kind)(config).eval()
        state = model.state_dict()
        tied = "lm_head.weight"
        weights = drawn_weights({key: tuple(value.shape) for key, value in state.items() if key != tied})
        model.load_state_dict({key: torch.tensor(value) for key, value in weights.items()}, strict=False)
        (folder / name).mkdir(parents=True, exist_ok=True)
        config.architectures = [kind]
        config.save_pretrained(folder / name)
        make_case(folder / name, model, LARGE_CASES, config.vocab_size)
    return len(TINY) * (len(CASES) + len(SAMPLING)) + len(STOPS) + len(LARGE) * len(LARGE_CASES)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], "generation", make, lambda path: {})
