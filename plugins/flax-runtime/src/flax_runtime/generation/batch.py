"""What stays the same while a call generates: its Texts, Numbers and Plan.

Shapes: B prompts, R rows (several for each prompt), S slots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from flax_runtime.generation.options import Numbers, Plan


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """What the programs know about the prompts, apart from their tokens."""

    mask: Bool[Array, "R S"]
    """Which columns are no padding; those behind the prompt are none."""

    columns: Int[Array, ""]
    """Columns of the prompt. A number, not a shape: prompts of other lengths go on in the same compiled loop."""

    prompt: Int[Array, " R"]
    """Tokens of each prompt, padding not counted."""

    shortest: Int[Array, " R"]
    """New tokens before which a row does not end."""

    longest: Int[Array, " R"]
    """New tokens at which a row ends."""

    keys: Key[Array, " R"] | Key[Array, ""] | None
    """Random keys of the rows, or one for all, of which each row makes its own; None where nothing is sampled."""

    stop: Int[Array, " R"] | None
    """Of each prompt the state in which `StopTexts` leaves it; None where no text ends a sequence."""

    shift: Int[Array, ""]
    """Columns of padding that the caller's prompt did not have."""

    def repeated(self, times: int) -> Texts:
        """Each row `times` times; copies of a row have keys of their own."""
        keys = None if self.keys is None else self._copied_keys(times)
        return dataclasses.replace(self._with_rows(lambda array: jnp.repeat(array, times, axis=0)), keys=keys)

    def taken(self, rows: Int[Array, " J"]) -> Texts:
        """Those at the rows, with the keys of all."""
        return self._with_rows(lambda array: array[rows])

    def real(self, length: Int[Array, ""]) -> Bool[Array, "R S"]:
        """Which columns hold a token, when `length` of them are written."""
        return self.mask & (jnp.arange(self.mask.shape[1]) < length)[None]

    def _with_rows(self, change: Callable[[jax.Array], jax.Array]) -> Texts:
        several = {"mask": self.mask, "prompt": self.prompt, "shortest": self.shortest, "longest": self.longest}
        stop = None if self.stop is None else change(self.stop)
        return dataclasses.replace(self, stop=stop, **{name: change(array) for name, array in several.items()})

    def _copied_keys(self, times: int) -> Key[Array, " R"]:
        rows, keys = self.mask.shape[0], self.keys
        assert keys is not None
        if keys.ndim == 0:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(keys, jnp.arange(rows))
        copies = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, jnp.arange(times))
        return copies.reshape(rows * times)


class Call(NamedTuple):
    """All of it."""

    texts: Texts
    numbers: Numbers
    plan: Plan
