"""KVCache: keys and values of the tokens that a decoder has seen, written in place.

Room is made in steps, so that a token more costs a copy of one token, not of all before it. A cache made with
`max_length` has all its room from the start and keeps its addresses, which compiled programs and CUDA graphs need.

Shapes: B batch, S slots, T new tokens, N heads, H head size.
"""

from __future__ import annotations

from torch import Tensor

from automodels.errors import InputError

STEP = 64  # slots that are added at least


class KVCache:
    """What `past_key_values` is; a call writes into it and returns it."""

    def __init__(self, max_length: int | None = None) -> None:
        """A cache without tokens; `max_length` slots, or as many as are needed."""
        self.max_length = max_length
        self.length = 0
        """Tokens that every layer holds."""

        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def __len__(self) -> int:
        """Number of layers that hold something."""
        return len(self._keys)

    def get_seq_length(self) -> int:
        """Tokens that are held."""
        return self.length

    @property
    def batch_size(self) -> int | None:
        """Number of sequences; None as long as it is empty."""
        return self._keys[0].shape[0] if self._keys else None

    def extended(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, length + T, H] all keys and values of a layer, once T more [B, N, T, H] are written behind them.

        `length` counts them only after `advance`, when every layer has them. Raises InputError when there is no room.
        """
        end = self.length + keys.shape[2]
        if layer == len(self._keys):
            self._keys.append(self._room(keys, end))
            self._values.append(self._room(values, end))
        elif self._keys[layer].shape[2] < end:
            self._keys[layer] = self._wider(self._keys[layer], end)
            self._values[layer] = self._wider(self._values[layer], end)
        self._keys[layer][:, :, self.length : end] = keys
        self._values[layer][:, :, self.length : end] = values
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def advance(self, tokens: int) -> None:
        """Counts tokens that every layer has written."""
        self.length += tokens

    def crop(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        self.length = min(self.length, length)

    def reorder(self, rows: Tensor, *, start: int = 0) -> None:
        """In place of each sequence the one at `rows` [B], from slot `start` on: before it they are known to agree."""
        for array in (*self._keys, *self._values):
            part = array[:, :, start : self.length]
            part.copy_(part.index_select(0, rows.to(array.device)))

    def repeat(self, times: int) -> None:
        """Each sequence `times` times, its copies side by side."""
        self._keys = [array.repeat_interleave(times, dim=0) for array in self._keys]
        self._values = [array.repeat_interleave(times, dim=0) for array in self._values]

    def check(self, batch: int, tokens: int) -> None:
        """Raises InputError when the cache holds another number of sequences, or has no room for `tokens` more."""
        if self.batch_size not in (None, batch):
            raise InputError(f"past_key_values holds {self.batch_size} sequences; input_ids has {batch}.")
        if self.max_length is not None and self.length + tokens > self.max_length:
            raise InputError(
                f"past_key_values holds {self.length} of {self.max_length} tokens; {tokens} more do not fit.",
                hints=["Make a longer one, or KVCache() that grows."],
            )

    def _room(self, like: Tensor, end: int) -> Tensor:
        slots = -(-end // STEP) * STEP if self.max_length is None else self.max_length
        return like.new_zeros((*like.shape[:2], slots, like.shape[3]))

    def _wider(self, array: Tensor, end: int) -> Tensor:
        room = self._room(array, max(end, 2 * array.shape[2]))
        room[:, :, : self.length] = array[:, :, : self.length]
        return room


def new_cache(given: KVCache | None, use_cache: bool, batch: int, tokens: int) -> KVCache | None:
    """The cache of a call: the one that is given, an empty one where it is wanted, or none."""
    if given is None:
        return KVCache() if use_cache else None
    if not isinstance(given, KVCache):
        raise InputError(
            f"past_key_values is a {type(given).__name__}, not a cache.",
            hints=["Pass the one that a call with use_cache=True returned, or torch_runtime.cache.KVCache()."],
        )
    given.check(batch, tokens)
    return given
