"""Files as `flax.serialization.to_bytes` writes them, byte for byte, with one tensor at a time in memory.

A tree of maps whose leaves are arrays: extension type 1 around (shape, name of the type, bytes). An array above 1 GiB
is a map of flat chunks. The `msgpack` library is not used: it can only pack an extension whose bytes it has in memory,
and makes several copies of them.

Sources: flax/serialization.py; https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automodels.checkpoint.sources import SourceTensor, content, stored_dtype
from automodels.checkpoint.staging import Output
from automodels.errors import InputError
from automodels.plugins.scan import shown

CHUNK_BYTES = 1 << 30
"""Arrays above this size are chunked, into chunks of at most this size."""

SEPARATOR = "."
"""Between the keys of nested maps, in names of tensors."""

_NDARRAY = 1
_FIXED_EXTENSIONS = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}


def tree_of(tensors: Mapping[str, SourceTensor]) -> dict[str, Any]:
    """Nested maps; dots in a name separate their keys. Raises InputError when a tensor would also be a map."""
    tree: dict[str, Any] = {}
    for name, source in tensors.items():
        *outer, last = name.split(SEPARATOR)
        branch: Any = tree
        for part in outer:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise InputError(f"{shown(name)} lies below a name that is a tensor itself.")
        if last in branch:
            raise InputError(f"{shown(name)} is a tensor, and other tensors lie below it.")
        branch[last] = source
    return tree


def write_msgpack(output: Output, tree: Mapping[str, Any], path: str = "") -> None:
    """Writes a tree. Raises InputError, OSError."""
    output.write(_map(len(tree)))
    for key, value in tree.items():
        output.write(_text(key))
        if isinstance(value, dict):
            write_msgpack(output, value, f"{path}{key}{SEPARATOR}")
        else:
            _write_array(output, f"{path}{key}", value)


def _write_array(output: Output, name: str, source: SourceTensor) -> None:
    kind = stored_dtype(source.dtype)
    data = content(name, source)
    if len(data) <= CHUNK_BYTES:
        output.write(_array_head(source.shape, kind.name, len(data)))
        output.write(data)
        return
    step = max(1, CHUNK_BYTES // kind.itemsize) * kind.itemsize
    starts = range(0, len(data), step)
    output.write(_map(3) + _text("__msgpack_chunked_array__") + b"\xc3" + _text("shape") + _map(len(source.shape)))
    for axis, length in enumerate(source.shape):
        output.write(_text(str(axis)) + _integer(length))
    output.write(_text("chunks") + _map(len(starts)))
    for number, start in enumerate(starts):
        chunk = data[start : start + step]
        output.write(_text(str(number)) + _array_head((len(chunk) // kind.itemsize,), kind.name, len(chunk)))
        output.write(chunk)


def _array_head(shape: tuple[int, ...], kind: str, nbytes: int) -> bytes:
    """Everything of an array's extension before its bytes."""
    head = _list(3) + _list(len(shape)) + b"".join(map(_integer, shape)) + _text(kind) + _binary(nbytes)
    size = len(head) + nbytes
    fixed = _FIXED_EXTENSIONS.get(size)
    start = bytes([fixed]) if fixed else _sized(size, {0xC7: 1, 0xC8: 2, 0xC9: 4})
    return start + bytes([_NDARRAY]) + head


def _integer(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else _sized(int(value), {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8})


def _text(text: str) -> bytes:
    data = text.encode()
    head = bytes([0xA0 | len(data)]) if len(data) < 32 else _sized(len(data), {0xD9: 1, 0xDA: 2, 0xDB: 4})
    return head + data


def _binary(size: int) -> bytes:
    return _sized(size, {0xC4: 1, 0xC5: 2, 0xC6: 4})


def _list(size: int) -> bytes:
    return bytes([0x90 | size]) if size < 16 else _sized(size, {0xDC: 2, 0xDD: 4})


def _map(size: int) -> bytes:
    return bytes([0x80 | size]) if size < 16 else _sized(size, {0xDE: 2, 0xDF: 4})


def _sized(size: int, markers: Mapping[int, int]) -> bytes:
    """The first marker in whose width, in bytes, the number fits, and the number, big-endian."""
    marker, width = next((marker, width) for marker, width in markers.items() if size < 1 << 8 * width)
    return bytes([marker]) + size.to_bytes(width, "big")
