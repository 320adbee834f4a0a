"""Trains the language model in examples/tiny-lm: a GPT-Neo of a million parameters, on English that ships with Python.

    python examples/train_tiny_lm.py --out my-lm

needs ./core[text], ./plugins/flax-runtime, ./plugins/flax-gptneo and optax, and about a quarter of an hour of two cores
that do nothing else. The folder is written whenever the model has become better, so that it can be used, or training
interrupted, at any time. With the same versions and on the same kind of machine the same model comes out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from python_prose import documents
from tiny_lm_card import card
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from automodels import AutoModelForCausalLM, GenerationConfig
from flax_gptneo import FlaxGPTNeoForCausalLM, GPTNeoConfig

END = "<|endoftext|>"  # between documents
SEED = 0
VOCABULARY, TOKENS, BATCH = 2048, 256, 8
VALIDATION = 20  # every so many-th document, in an order drawn from SEED, is not trained on
PEAK, WARM_UP, DECAY = 3e-3, 100, 0.1  # of AdamW
EVERY = 250  # steps between validations
SHARD = "600KB"  # small, so that the model has several

Params = Any


class Corpus(NamedTuple):
    """Token ids of all documents, END before each, and the size of the validation text in bytes."""

    train: np.ndarray
    validation: np.ndarray
    validation_bytes: int
    train_bytes: int
    sha256: str


def main() -> None:
    """Text, tokenizer, training, and at the end the model's card with the figures of the files that were written."""
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    texts = [text[: arguments.characters] for text in documents().values()][: arguments.documents]
    tokenizer = _tokenizer(texts, arguments.out)
    corpus = _corpus(texts, tokenizer)
    if min(len(corpus.train), len(corpus.validation)) <= TOKENS:
        sys.exit(f"There is too little text: {len(corpus.validation)} tokens to validate on, {TOKENS} are one piece.")
    print(f"{corpus.train_bytes:,} bytes, {len(corpus.train):,} tokens to train on; {len(corpus.validation):,} others")
    step = _trained(_fresh(), corpus, arguments.steps, arguments.out)
    figures = {
        "python": platform.python_version(),
        "sha256": corpus.sha256,
        "bytes": corpus.train_bytes,
        "tokens": len(corpus.train),
        "step": step,
        "steps": arguments.steps,
        "tokens_seen": step * BATCH * TOKENS,
        **_measured(arguments.out, corpus),
    }
    (arguments.out / "README.md").write_text(card(figures), encoding="utf-8")
    print(f"validation {figures['validation']:.3f} at step {step}, {figures['bits_per_byte']:.2f} bits per byte")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tiny-lm", help="the folder to write")
    parser.add_argument("--steps", type=int, default=3000, help="batches to train on (default: %(default)s)")
    parser.add_argument("--documents", type=int, help="only so many documents, to try the script out")
    parser.add_argument("--characters", type=int, help="only so many characters of each")
    return parser.parse_args()


def _tokenizer(texts: list[str], out: Path) -> Tokenizer:
    """A byte-level BPE, trained on all texts: the validation texts decide about words, too, not about the model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    options: dict[str, Any] = {"special_tokens": [END], "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, **options))
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END)
    settings = {"tokenizer_class": "GPT2TokenizerFast", "model_max_length": TOKENS, "add_prefix_space": False, **roles}
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return tokenizer


def _corpus(texts: list[str], tokenizer: Tokenizer) -> Corpus:
    order = np.random.default_rng(SEED).permutation(len(texts))
    held_out = [texts[index] for index in order[::VALIDATION]]
    others = [texts[index] for index in order if index not in set(order[::VALIDATION])]
    return Corpus(
        train=_ids(others, tokenizer),
        validation=_ids(held_out, tokenizer),
        train_bytes=_size(others),
        validation_bytes=_size(held_out),
        sha256=hashlib.sha256("\0".join(texts).encode()).hexdigest(),
    )


def _ids(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    end = tokenizer.token_to_id(END)
    return np.concatenate([[end, *encoding.ids] for encoding in tokenizer.encode_batch(texts)]).astype(np.int32)


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _fresh() -> FlaxGPTNeoForCausalLM:
    config = GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_layers=4,
        num_heads=4,
        max_position_embeddings=TOKENS,
        attention_types=[(["global", "local"], 2)],
        window_size=64,
        embed_dropout=0.1,
        resid_dropout=0.1,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = FlaxGPTNeoForCausalLM(config, seed=SEED)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_k=40,
        repetition_penalty=1.2,
        max_new_tokens=80,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return model


def _trained(model: FlaxGPTNeoForCausalLM, corpus: Corpus, steps: int, out: Path) -> int:
    """Trains, and writes the best model of all validations; returns its step."""
    warm_up = min(WARM_UP, steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0 if warm_up else PEAK, PEAK, warm_up, steps, 0.05 * PEAK)
    shrunk = jax.tree.map(lambda leaf: leaf.ndim > 1, model.params)  # no bias, no scale of a norm
    adamw = optax.adamw(rate, b2=0.98, weight_decay=DECAY, mask=shrunk)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    train_step = _train_step(model, optimizer)
    params = jax.tree.map(jnp.copy, model.params)
    state, batches = optimizer.init(params), _batches(corpus.train)
    loss_of = _loss_of(model)
    best, best_step = loss_of(params, corpus.validation), 0
    print(f"step 0: validation {best:.3f}")
    started, losses = time.monotonic(), []
    for step, key in enumerate(jax.random.split(jax.random.key(SEED), steps), start=1):
        params, state, loss = train_step(params, state, next(batches), key)
        losses.append(loss)
        if step % EVERY == 0 or step == steps:
            found = loss_of(params, corpus.validation)
            pace = (time.monotonic() - started) / step
            print(f"step {step}: train {np.mean(losses):.3f}, validation {found:.3f}, {pace:.2f} s a step", flush=True)
            losses.clear()
            if found < best:
                best, best_step = found, step
                model.save_pretrained(out, model.to_fp16(params), max_shard_size=SHARD)
    if not best_step:
        sys.exit("The model did not become better than it was before training; nothing was written.")
    return best_step


def _batches(ids: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of TOKENS + 1 ids from anywhere, without end."""
    numbers = np.random.default_rng(SEED)
    while True:
        starts = numbers.integers(0, len(ids) - TOKENS, BATCH)
        yield ids[starts[:, None] + np.arange(TOKENS + 1)]


def _train_step(model: FlaxGPTNeoForCausalLM, optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    def step(params: Params, state: Any, ids: jax.Array, key: jax.Array) -> tuple[Params, Any, jax.Array]:
        def loss(params: Params) -> jax.Array:
            logits = model(ids[:, :-1], params=params, dropout_rng=key, train=True).logits
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]))

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    return jax.jit(step, donate_argnums=(0, 1))


def _loss_of(model: FlaxGPTNeoForCausalLM) -> Callable[[Params, np.ndarray], float]:
    """Nats for each token of a text, cut into pieces of TOKENS; the first tokens of each have little before them."""

    @jax.jit
    def total(params: Params, ids: jax.Array) -> jax.Array:
        logits = model(ids[:, :-1], params=params).logits
        return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, ids[:, 1:]))

    def loss(params: Params, ids: np.ndarray) -> float:
        pieces = (len(ids) - 1) // TOKENS
        rows = ids[np.arange(pieces)[:, None] * TOKENS + np.arange(TOKENS + 1)]
        return sum(float(total(params, row[None])) for row in rows) / (pieces * TOKENS)

    return loss


def _measured(out: Path, corpus: Corpus) -> dict[str, float]:
    """Figures of the model as it was written, in half precision."""
    model = AutoModelForCausalLM.from_pretrained(out)
    loss_of = _loss_of(model)
    validation = loss_of(model.params, corpus.validation)
    tokens_per_byte = len(corpus.validation) / corpus.validation_bytes
    return {
        "parameters": model.num_parameters(),
        "train": loss_of(model.params, corpus.train[: 2 * len(corpus.validation)]),
        "validation": validation,
        "validation_tokens": len(corpus.validation),
        "validation_bytes": corpus.validation_bytes,
        "bits_per_byte": validation / math.log(2) * tokens_per_byte,
        "size": sum(path.stat().st_size for path in out.iterdir() if path.name != "README.md") / 1e6,
    }


if __name__ == "__main__":
    main()
