"""Our worker. Imports are inside of the commands: `first` counts them."""

from __future__ import annotations

import statistics
from typing import Any

from protocol import seconds_of, serve

held: dict[str, Any] = {}


def first(folder: str, batch: int, tokens: int) -> dict[str, Any]:
    """Import, load, compile, compute."""
    from flax_bert import FlaxBertModel

    model = FlaxBertModel.from_pretrained(folder)
    model([[101] * tokens] * batch).last_hidden_state.block_until_ready()
    return {}


def imports() -> dict[str, Any]:
    """What loading needs, imported and started."""
    import jax

    import flax_bert.modeling  # noqa: F401

    jax.numpy.zeros(1).block_until_ready()
    return {}


def load(folder: str) -> dict[str, Any]:
    import jax

    from flax_bert import FlaxBertModel

    def run() -> None:
        held["model"] = FlaxBertModel.from_pretrained(folder)
        jax.block_until_ready(held["model"].params)

    return {"seconds": seconds_of(run)}


def forward(batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import blocked

    model = held["model"]
    ids, mask = inputs_of(batch, tokens, model.config.vocab_size)
    return {"seconds": blocked(model, ids, mask)}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    """A few numbers of the result, to see that all compute the same."""
    import numpy as np
    from inputs import inputs_of

    model = held["model"]
    states = model(*inputs_of(batch, tokens, model.config.vocab_size)).last_hidden_state
    return {"numbers": np.asarray(states[:, 0, :8]).tolist()}


def train(folder: str, batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import Training

    if "training" not in held:
        from flax_bert import FlaxBertForSequenceClassification

        model = FlaxBertForSequenceClassification.from_pretrained(folder)

        def logits(params: Any, ids: Any, mask: Any, key: Any) -> Any:
            return model(ids, mask, params=params, dropout_rng=key, train=True).logits

        held["vocabulary"] = model.config.vocab_size
        held["training"] = Training(logits, model.params)
    return {"seconds": held["training"].seconds(*inputs_of(batch, tokens, held["vocabulary"]))}


def products(batch: int, tokens: int) -> dict[str, Any]:
    from with_jax import Products

    if "products" not in held:
        config = held["model"].config
        held["products"] = Products(
            config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads
        )
    return {"seconds": held["products"].seconds(batch, tokens)}


def overhead(calls: int) -> dict[str, Any]:
    """Medians of a call of a model with nothing to compute, and of the bare executable that it runs.

    What remains between them is Python: checking inputs, flattening the tree, finding the compiled program.
    """
    import jax
    import numpy as np

    from flax_bert import BertConfig, FlaxBertModel

    tiny = BertConfig(
        vocab_size=16, hidden_size=4, num_hidden_layers=12, num_attention_heads=1, intermediate_size=4,
        max_position_embeddings=8, type_vocab_size=2,
    )  # fmt: skip
    model = FlaxBertModel(tiny)
    ids, mask = np.ones((1, 2), np.int32), np.ones((1, 2), np.int32)
    compiled = jax.jit(lambda params, ids, mask: model(ids, mask, params=params)).lower(model.params, ids, mask)
    executable = compiled.compile().runtime_executable()
    leaves = [jax.numpy.asarray(leaf) for leaf in jax.tree.leaves((model.params, ids, mask))]
    found: dict[str, list[float]] = {"call": [], "bare": []}
    for _ in range(calls):
        found["call"].append(seconds_of(lambda: jax.block_until_ready(model(ids, mask))))
        found["bare"].append(seconds_of(lambda: jax.block_until_ready(executable.execute(leaves))))
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def make(hub: str, msgpack: str) -> dict[str, Any]:
    """A BERT-base with random parameters, saved under the Hub's names and as transformers' Flax saved it."""
    from flax_bert import BertConfig, FlaxBertModel

    model = FlaxBertModel(BertConfig())
    model.save_pretrained(hub)
    model.save_pretrained(msgpack, safe_serialization=False)
    return {"parameters": model.num_parameters() * 4}


if __name__ == "__main__":
    serve({c.__name__: c for c in (first, imports, load, forward, digest, train, products, overhead, make)})
