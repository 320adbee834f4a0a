"""Writes tests/golden/msgpack with the Flax models that transformers had up to version 4.

pip install "transformers<5" "jax<0.5" "flax<0.11"
python tests/make_golden_flax.py
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from transformers import FlaxGPT2LMHeadModel, GPT2Config

DIRECTORY = Path(__file__).parent / "golden" / "msgpack"
CONFIG = GPT2Config(vocab_size=61, n_embd=24, n_layer=2, n_head=4, n_positions=32, n_inner=40)

model = FlaxGPT2LMHeadModel(CONFIG, seed=0)
leaves, tree = jax.tree.flatten(model.params)
keys = jax.random.split(jax.random.key(1), len(leaves))
noisy = [leaf + 0.2 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
model.params = jax.tree.unflatten(tree, noisy)
model.save_pretrained(DIRECTORY)
(DIRECTORY / "generation_config.json").unlink(missing_ok=True)
ids = jnp.array([[9, 60, 8, 31, 31, 12]])
np.savez_compressed(DIRECTORY / "outputs.npz", ids=ids, logits=model(ids).logits)
