"""transformers' Flax BERT under jit, with transformers 4."""

from __future__ import annotations

from typing import Any

from protocol import seconds_of, serve

held: dict[str, Any] = {}


def _model(folder: str) -> tuple[Any, Any]:
    import jax
    from transformers import FlaxBertModel

    model = FlaxBertModel.from_pretrained(folder)

    def call(params: Any, ids: Any, mask: Any) -> Any:
        output = model(input_ids=ids, attention_mask=mask, params=params)
        return output.last_hidden_state, output.pooler_output

    return model, jax.jit(call)


def first(folder: str, batch: int, tokens: int) -> dict[str, Any]:
    """Import, load, compile, compute."""
    import numpy as np

    model, call = _model(folder)
    ids = np.full((batch, tokens), 101)
    call(model.params, ids, np.ones_like(ids))[0].block_until_ready()
    return {}


def imports() -> dict[str, Any]:
    """What loading needs, imported and started."""
    import jax
    from transformers import FlaxBertModel  # noqa: F401

    jax.numpy.zeros(1).block_until_ready()
    return {}


def load(folder: str) -> dict[str, Any]:
    import jax

    def run() -> None:
        held["model"], held["call"] = _model(folder)
        jax.block_until_ready(held["model"].params)

    return {"seconds": seconds_of(run)}


def forward(batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import blocked

    model = held["model"]
    ids, mask = inputs_of(batch, tokens, model.config.vocab_size)
    return {"seconds": blocked(held["call"], model.params, ids, mask)}


def digest(batch: int, tokens: int) -> dict[str, Any]:
    import numpy as np
    from inputs import inputs_of

    model = held["model"]
    states, _ = held["call"](model.params, *inputs_of(batch, tokens, model.config.vocab_size))
    return {"numbers": np.asarray(states[:, 0, :8]).tolist()}


def train(folder: str, batch: int, tokens: int) -> dict[str, Any]:
    from inputs import inputs_of
    from with_jax import Training

    if "training" not in held:
        from transformers import FlaxBertForSequenceClassification

        model = FlaxBertForSequenceClassification.from_pretrained(folder)

        def logits(params: Any, ids: Any, mask: Any, key: Any) -> Any:
            return model(ids, mask, params=params, dropout_rng=key, train=True).logits

        held["vocabulary"] = model.config.vocab_size
        held["training"] = Training(logits, model.params)
    return {"seconds": held["training"].seconds(*inputs_of(batch, tokens, held["vocabulary"]))}


if __name__ == "__main__":
    serve({command.__name__: command for command in (first, imports, load, forward, digest, train)})
