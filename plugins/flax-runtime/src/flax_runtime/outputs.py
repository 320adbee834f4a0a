"""What models return: by attribute, by key, by position, and as a JAX tree.

Shapes: B batch, T tokens, D hidden size, N heads, L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
from jaxtyping import Array, Float


class ModelOutput:
    """Base of all outputs: `out.logits`, `out["logits"]` and `out[0]` are the same; absent fields do not count."""

    def keys(self) -> tuple[str, ...]:
        """Names of the fields that are present."""
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses
        return tuple(name for name in names if getattr(self, name) is not None)

    def values(self) -> tuple[Any, ...]:
        """Fields that are present."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """(name, field) for the fields that are present."""
        return tuple((name, getattr(self, name)) for name in self.keys())

    def to_tuple(self) -> tuple[Any, ...]:
        """Fields that are present, as `return_dict=False` gives them."""
        return self.values()

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.to_tuple()[key]
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __len__(self) -> int:
        return len(self.keys())


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxBaseModelOutputWithPooling(ModelOutput):
    """What an encoder with a pooler returns."""

    last_hidden_state: Float[Array, "B T D"]
    pooler_output: Float[Array, "B D"] | None = None
    """The first token's hidden state, through a dense layer and tanh."""

    hidden_states: tuple[Float[Array, "B T D"], ...] | None = None
    """Embeddings and the output of each layer: L + 1 arrays."""

    attentions: tuple[Float[Array, "B N T T"], ...] | None = None
    """Attention weights of each layer: L arrays."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FlaxSentenceEmbeddingOutput(ModelOutput):
    """What a model for sentence embedding returns."""

    embeddings: Float[Array, "B E"]
    """Pooled vectors, in float32."""

    last_hidden_state: Float[Array, "B T D"]
    hidden_states: tuple[Float[Array, "B T D"], ...] | None = None
    attentions: tuple[Float[Array, "B N T T"], ...] | None = None
