"""The items of a msgpack stream, one by one; what is long is not read but passed over.

https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

from automodels.errors import CheckpointFormatError

ITEMS = 2_000_000
"""In one file: a tensor takes about seven, so this is a model of 250,000 tensors."""

STRING = 4096  # bytes of a string that is read; longer ones are passed over like binary data


@dataclass(frozen=True)
class Opening:
    """The start of a map of `count` pairs, or of a list of `count` items."""

    is_map: bool
    count: int


@dataclass(frozen=True)
class Raw:
    """Binary data, or an overlong string, that was passed over."""

    start: int
    size: int


@dataclass(frozen=True)
class Extension:
    """The head of an extension; its body comes next."""

    code: int
    size: int


Item: TypeAlias = "Opening | Raw | Extension | str | int | float | bool | None"

_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    first: struct.Struct(form)
    for first, form in zip(range(0xCA, 0xD4), (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True)
}
_LENGTHS = {1: struct.Struct(">B"), 2: struct.Struct(">H"), 4: struct.Struct(">I")}
_BINARY = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_STRING = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENSION = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSION = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_CONTAINER = {0xDC: (False, 2), 0xDD: (False, 4), 0xDE: (True, 2), 0xDF: (True, 4)}


class Items:
    """A cursor over a file of `size` bytes, called `file` in messages."""

    def __init__(self, stream: BinaryIO, size: int, file: str) -> None:
        self.position = 0
        self._stream = stream
        self._size = size
        self._file = file
        self._count = 0

    def next(self) -> Item:
        """The next item; raises CheckpointFormatError when the file ends before it does."""
        self._count += 1
        if self._count > ITEMS:
            raise self.error(f"there are more than {ITEMS} items")
        first = self._read(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first < 0xA0:
            return self._opening(is_map=first < 0x90, count=first & 0x0F)
        if first < 0xC0:
            return self._string(first & 0x1F)
        return self._long(first)

    def _long(self, first: int) -> Item:
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            form = _NUMBERS[first]
            number: Any = form.unpack(self._read(form.size))[0]
            return number  # type: ignore[no-any-return]  # struct gives Any
        if first in _STRING:
            return self._string(self._length(_STRING[first]))
        if first in _BINARY:
            return self._raw(self._length(_BINARY[first]))
        if first in _CONTAINER:
            is_map, width = _CONTAINER[first]
            return self._opening(is_map=is_map, count=self._length(width))
        if first in _EXTENSION or first in _FIXED_EXTENSION:
            size = _FIXED_EXTENSION.get(first) or self._length(_EXTENSION[first])
            code = int.from_bytes(self._read(1), signed=True)
            self._check(size)
            return Extension(code, size)
        raise self.error(f"the byte {first:#04x} starts no item")

    def skip(self, size: int) -> None:
        """Passes over bytes without reading them."""
        self._check(size)
        self.position += size
        self._stream.seek(self.position)

    def check_end(self) -> None:
        """Raises CheckpointFormatError when there are bytes left."""
        if self.position != self._size:
            raise self.error(f"{self._size - self.position} bytes follow the end")

    def error(self, problem: str) -> CheckpointFormatError:
        """The error for what is wrong at the current place."""
        return CheckpointFormatError(f"{self._file}, byte {self.position}: {problem}.")

    def _opening(self, *, is_map: bool, count: int) -> Opening:
        self._check(count * (2 if is_map else 1))  # each item has a byte at least
        return Opening(is_map, count)

    def _string(self, size: int) -> str | Raw:
        if size > STRING:
            return self._raw(size)
        try:
            return self._read(size).decode()
        except UnicodeDecodeError as error:
            raise self.error("a string is not UTF-8") from error

    def _raw(self, size: int) -> Raw:
        start = self.position
        self.skip(size)
        return Raw(start, size)

    def _length(self, width: int) -> int:
        length: int = _LENGTHS[width].unpack(self._read(width))[0]
        return length

    def _read(self, size: int) -> bytes:
        self._check(size)
        data = self._stream.read(size)
        if len(data) < size:
            raise self.error("the file became shorter while it was read")
        self.position += size
        return data

    def _check(self, size: int) -> None:
        if size > self._size - self.position:
            raise CheckpointFormatError(
                f"{self._file} is truncated: at byte {self.position} it promises {size} more; it has {self._size}.",
                hints=["Download it again."],
            )
