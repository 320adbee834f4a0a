"""KVCache: keys and values of the tokens that a decoder has seen, as an argument and a result of its calls.

Every array has the cache's full length from the start, so that all steps of decoding are one compiled program; a cache
that is donated is written in place.

Shapes: B batch, S slots, T new tokens, N heads, H head size, L layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from automodels.errors import InputError


class LayerCache(NamedTuple):
    """One layer's part of a cache."""

    keys: Float[Array, "B S N H"]
    values: Float[Array, "B S N H"]
    length: Int[Array, ""]
    """Slots that hold a token, before this call."""

    def extended(self, keys: Float[Array, "B T N H"], values: Float[Array, "B T N H"]) -> LayerCache:
        """The same slots with T tokens written behind those that are there; `length` stays."""
        return self._replace(keys=self._written(self.keys, keys), values=self._written(self.values, values))

    def _written(self, slots: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(slots, new.astype(slots.dtype), self.length, axis=1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """What `past_key_values` is: a JAX tree, to be passed into jit and donated; a call returns a new one."""

    keys: tuple[Float[Array, "B S N H"], ...]
    values: tuple[Float[Array, "B S N H"], ...]
    length: Int[Array, ""]
    """Slots that hold a token; the next one is written behind them."""

    @classmethod
    def empty(cls, *, layers: int, batch: int, max_length: int, heads: int, head_size: int, dtype: Any) -> KVCache:
        """A cache without tokens, for `max_length` of them."""
        shape = (batch, max_length, heads, head_size)
        # One array each, and not one for all: a donated buffer may be given only once.
        keys, values = (tuple(jnp.zeros(shape, dtype) for _ in range(layers)) for _ in range(2))
        return cls(keys=keys, values=values, length=jnp.zeros((), jnp.int32))

    @property
    def batch_size(self) -> int:
        """Number of sequences."""
        return self.keys[0].shape[0]

    @property
    def max_length(self) -> int:
        """Number of slots: the longest sequence, the prompt included."""
        return self.keys[0].shape[1]

    def layer(self, number: int) -> LayerCache:
        """One layer's part."""
        return LayerCache(self.keys[number], self.values[number], self.length)

    def advanced(self, layers: Sequence[LayerCache], tokens: int) -> KVCache:
        """The cache after a call in which every layer has written `tokens` tokens."""
        return KVCache(
            keys=tuple(layer.keys for layer in layers),
            values=tuple(layer.values for layer in layers),
            length=self.length + jnp.asarray(tokens, self.length.dtype),
        )

    def repeated(self, times: int) -> KVCache:
        """Each sequence `times` times, its copies side by side."""
        return self._mapped(lambda array: jnp.repeat(array, times, axis=0))

    def reordered(self, rows: Int[Array, " B"], *, start: int = 0) -> KVCache:
        """In place of each sequence the one at `rows`, in slots from `start` on; the others stay as they are."""
        return self._mapped(lambda array: array.at[:, start:].set(array[:, start:][rows]))

    def _mapped(self, change: Callable[[jax.Array], jax.Array]) -> KVCache:
        return KVCache(
            keys=tuple(change(array) for array in self.keys),
            values=tuple(change(array) for array in self.values),
            length=self.length,
        )

    def has_room(self, tokens: int) -> Bool[Array, ""]:
        """Whether `tokens` tokens more fit in; inside jit a traced value."""
        return self.length + tokens <= self.max_length

    def check(self, *, layers: int, batch: int, tokens: int, heads: int, head_size: int) -> None:
        """Raises InputError when a model of this shape cannot go on with the cache.

        Inside jit, where `length` is not known, the cache counts as empty.
        """
        expected = (batch, self.max_length, heads, head_size)
        if len(self.keys) != layers or {array.shape for array in (*self.keys, *self.values)} != {expected}:
            raise InputError(
                f"past_key_values has {len(self.keys)} layers of shape {list(self.keys[0].shape)}; the call needs "
                f"{layers} of {list(expected)}.",
                hints=["Make it with this model's init_cache(batch_size, max_length)."],
            )
        held = 0 if isinstance(self.length, jax.core.Tracer) else int(self.length)
        if held + tokens <= self.max_length:
            return
        raise InputError(
            f"past_key_values holds {held} of {self.max_length} tokens; {tokens} more do not fit.",
            hints=["Make a longer one with init_cache(batch_size, max_length)."],
        )
