"""KVCache: keys and values of the tokens that a decoder has seen, as an argument and a result of its calls.

Every array has the cache's full length from the start, so that all steps of decoding are one compiled program; a cache
that is donated is written in place. A head's tokens lie side by side, which is how the products of attention read them:
of any other order, every step of decoding would make a copy in this one.

Shapes: B batch, S slots, T new tokens, K keys (S, or T where nothing is behind), N heads, H head size, L layers,
P = B · N heads of all texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from automodels.errors import InputError

Stored = Float[Array, "P S H"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LayerCache:
    """One layer's part of a cache."""

    stored_keys: Stored
    stored_values: Stored
    length: Int[Array, ""]
    """Slots that hold a token, before this call."""

    heads: int = dataclasses.field(metadata={"static": True})
    is_fresh: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def keys(self) -> Float[Array, "B S N H"]:
        """Keys as attention takes them."""
        return _by_token(self.stored_keys, self.heads)

    @property
    def values(self) -> Float[Array, "B S N H"]:
        """Values as attention takes them."""
        return _by_token(self.stored_values, self.heads)

    def extended(self, keys: Float[Array, "B T N H"], values: Float[Array, "B T N H"]) -> LayerCache:
        """The same slots with T tokens written behind those that are there; `length` stays."""
        return dataclasses.replace(
            self,
            stored_keys=self._written(self.stored_keys, keys),
            stored_values=self._written(self.stored_values, values),
        )

    def grown(
        self, keys: Float[Array, "B T N H"], values: Float[Array, "B T N H"]
    ) -> tuple[LayerCache, Float[Array, "B K N H"], Float[Array, "B K N H"]]:
        """As `extended`, and what the T tokens attend to: every slot, or behind an empty cache these tokens alone."""
        past = self.extended(keys, values)
        if not self.is_fresh:
            return past, past.keys, past.values
        kept = self.stored_keys.dtype  # as it will be read from the slots
        return past, keys.astype(kept), values.astype(kept)

    def _written(self, slots: jax.Array, new: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(slots, _by_head(new.astype(slots.dtype)), self.length, axis=1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KVCache:
    """What `past_key_values` is: a JAX tree, to be passed into jit and donated; a call returns a new one."""

    stored_keys: tuple[Stored, ...]
    stored_values: tuple[Stored, ...]
    length: Int[Array, ""]
    """Slots that hold a token; the next one is written behind them."""

    heads: int = dataclasses.field(metadata={"static": True})
    is_fresh: bool = dataclasses.field(default=False, metadata={"static": True})
    """Whether it is known, when a program is compiled, that there is no token yet; attention then looks at no slots."""

    @property
    def keys(self) -> tuple[Float[Array, "B S N H"], ...]:
        """The keys of each layer."""
        return tuple(_by_token(array, self.heads) for array in self.stored_keys)

    @property
    def values(self) -> tuple[Float[Array, "B S N H"], ...]:
        """The values of each layer."""
        return tuple(_by_token(array, self.heads) for array in self.stored_values)

    @classmethod
    def empty(cls, *, layers: int, batch: int, max_length: int, heads: int, head_size: int, dtype: Any) -> KVCache:
        """A cache without tokens, for `max_length` of them."""
        shape = (batch * heads, max_length, head_size)
        # One array each, and not one for all: a donated buffer may be given only once.
        keys, values = (tuple(jnp.zeros(shape, dtype) for _ in range(layers)) for _ in range(2))
        return cls(stored_keys=keys, stored_values=values, length=jnp.zeros((), jnp.int32), heads=heads)

    def as_fresh(self) -> KVCache:
        """The same, known to be empty: for a program that makes its cache itself."""
        return dataclasses.replace(self, is_fresh=True)

    @property
    def batch_size(self) -> int:
        """Number of sequences."""
        return self.stored_keys[0].shape[0] // self.heads

    @property
    def max_length(self) -> int:
        """Number of slots: the longest sequence, the prompt included."""
        return self.stored_keys[0].shape[1]

    def layer(self, number: int) -> LayerCache:
        """One layer's part."""
        return LayerCache(self.stored_keys[number], self.stored_values[number], self.length, self.heads, self.is_fresh)

    def advanced(self, layers: Sequence[LayerCache], tokens: int) -> KVCache:
        """The cache after a call in which every layer has written `tokens` tokens."""
        return dataclasses.replace(
            self,
            stored_keys=tuple(layer.stored_keys for layer in layers),
            stored_values=tuple(layer.stored_values for layer in layers),
            length=self.length + jnp.asarray(tokens, self.length.dtype),
            is_fresh=False,
        )

    def repeated(self, times: int) -> KVCache:
        """Each sequence `times` times, its copies side by side."""

        def several(array: jax.Array) -> jax.Array:
            apart = array.reshape(-1, self.heads, *array.shape[1:])
            return jnp.repeat(apart, times, axis=0).reshape(-1, *array.shape[1:])

        return dataclasses.replace(
            self,
            stored_keys=tuple(several(array) for array in self.stored_keys),
            stored_values=tuple(several(array) for array in self.stored_values),
        )

    def has_room(self, tokens: int) -> Bool[Array, ""]:
        """Whether `tokens` tokens more fit in; inside jit a traced value."""
        return self.length + tokens <= self.max_length

    def check(self, *, layers: int, batch: int, tokens: int, heads: int, head_size: int) -> None:
        """Raises InputError when a model of this shape cannot go on with the cache.

        Inside jit, where `length` is not known, the cache counts as empty.
        """
        expected = (batch * heads, self.max_length, head_size)
        shapes = {array.shape for array in (*self.stored_keys, *self.stored_values)}
        if len(self.stored_keys) != layers or self.heads != heads or shapes != {expected}:
            found = [self.batch_size, self.max_length, self.heads, self.stored_keys[0].shape[-1]]
            raise InputError(
                f"past_key_values has {len(self.stored_keys)} layers of shape {found}; the call needs "
                f"{layers} of {[batch, self.max_length, heads, head_size]}.",
                hints=["Make it with this model's init_cache(batch_size, max_length)."],
            )
        held = 0 if isinstance(self.length, jax.core.Tracer) else int(self.length)
        if held + tokens <= self.max_length:
            return
        raise InputError(
            f"past_key_values holds {held} of {self.max_length} tokens; {tokens} more do not fit.",
            hints=["Make a longer one with init_cache(batch_size, max_length)."],
        )


def _by_head(array: Float[Array, "B T N H"]) -> Float[Array, "P T H"]:
    return array.swapaxes(1, 2).reshape(-1, array.shape[1], array.shape[3])


def _by_token(array: Float[Array, "P T H"], heads: int) -> Float[Array, "B T N H"]:
    return array.reshape(-1, heads, *array.shape[1:]).swapaxes(1, 2)
