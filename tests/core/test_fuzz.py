"""Weight files that are changed at random: read, or refused with one of our errors; nothing else happens.

Each case changes one valid checkpoint, opens it and reads every tensor. AUTOMODELS_FUZZ is the count of cases (3,000 if
it is not set); the seed is fixed, and a failure names its case. What is checked: no error but ours; no file opened
outside the directory; memory bounded by the size of the files.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automodels.checkpoint.reader import Checkpoint
from automodels.errors import CheckpointError

CASES = int(os.environ.get("AUTOMODELS_FUZZ", "3000"))
GOLDEN = Path(__file__).parent.parent / "golden" / "torch_bin"
MEMORY = 600_000, 200
"""Bytes that any case may take, and for each byte of its files: descriptions are objects, data is only mapped."""

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1, 1 << 40)
TEXT = (
    "9" * 19,
    '"',
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "-1",
    "1e9",
    "null",
    "NaN",
    "F16",
    "../x",
    "/etc/passwd",
    "\\u0000",
)

_opened: list[str] = []
_is_watched = threading.Event()


def _watch(event: str, arguments: Any) -> None:
    if event == "open" and _is_watched.is_set() and isinstance(arguments[0], str | bytes):
        _opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


def safetensors(**shapes: tuple[int, ...]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)


def msgpack_array(count: int, dtype: str = "float32") -> bytes:
    data = bytes(count * np.dtype(dtype).itemsize)
    name = bytes([0xA0 + len(dtype)]) + dtype.encode()
    body = b"\x93\x91" + bytes([count]) + name + b"\xc5" + struct.pack(">H", len(data)) + data
    return b"\xc8" + struct.pack(">Hb", len(body), 1) + body


def msgpack() -> bytes:
    chunks = b"\x82\xa10" + msgpack_array(3) + b"\xa11" + msgpack_array(2)
    joined = b"\x83\xb9__msgpack_chunked_array__\xc3\xa5shape\x81\xa10\x05\xa6chunks" + chunks
    tree = b"\x82\xa1a\x81\xa1b" + msgpack_array(6) + b"\xa1c" + joined
    return b"\x82\xa6params" + tree + b"\xa4step\xcd\x01\x00"


def changed_bytes(content: bytes, chance: random.Random) -> bytes:
    """Some bytes replaced, numbers written over them, pieces removed, repeated, or moved."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            width = chance.choice((1, 2, 4, 8))
            number = (chance.choice(NUMBERS) + chance.choice((-1, 0, 1))) % (1 << 8 * width)
            data[place : place + width] = number.to_bytes(width, chance.choice(("little", "big")))
        elif kind == 3:
            del data[place : place + chance.choice((1, 2, 8, 64))]
        elif kind == 4:
            data[place:place] = chance.randbytes(chance.choice((1, 2, 8)))
        elif kind == 5:
            piece = data[place : place + chance.choice((1, 4, 30, 100))]
            target = chance.randrange(len(data) + 1)
            data[target:target] = piece
        elif len(data) > 1:
            del data[chance.randrange(1, len(data)) :]
    return bytes(data)


def changed_text(content: bytes, chance: random.Random) -> bytes:
    text = content.decode()
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice((*TEXT, "")) + text[place + chance.choice((0, 1, 2, 6)) :]
    return text.encode()


def changed_header(content: bytes, chance: random.Random) -> bytes:
    """The header of a safetensors file, whose length is kept true."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = changed_text(content[8:end], chance)
    return len(header).to_bytes(8, "little") + header + content[end:]


def changed_pickle(content: bytes, chance: random.Random) -> bytes:
    """The pickle in a file of torch, at the length it has, so that the archive stays whole."""
    start = content.index(b"\x80", 30)
    end = content.index(b".PK", start)
    code = changed_bytes(content[start:end], chance)
    return content[:start] + code[: end - start].ljust(end - start, b".") + content[end:]


Change = Callable[[bytes, random.Random], bytes]
SINGLE: list[tuple[str, bytes, list[Change]]] = [
    ("model.safetensors", safetensors(a=(2, 3), b=(4,), c=()), [changed_bytes, changed_header]),
    ("flax_model.msgpack", msgpack(), [changed_bytes]),
    *[
        ("pytorch_model.bin", (GOLDEN / f"{name}.bin").read_bytes(), [changed_bytes, changed_pickle])
        for name in ("types", "views", "nested", "protocol4")
    ],
]
INDEX = {
    "metadata": {"total_size": 40},
    "weight_map": {"a": "x.safetensors", "b": "x.safetensors", "c": "y.safetensors"},
}
SHARDS = {"x.safetensors": safetensors(a=(2, 3), b=(2,)), "y.safetensors": safetensors(c=(2,))}


def make_case(directory: Path, chance: random.Random) -> None:
    if chance.random() < 0.2:
        for name, content in SHARDS.items():
            (directory / name).write_bytes(changed_bytes(content, chance) if chance.random() < 0.1 else content)
        text = json.dumps(INDEX, indent=chance.choice((None, 2))).encode()
        change = chance.choice((changed_text, changed_bytes))
        (directory / "model.safetensors.index.json").write_bytes(change(text, chance))
    else:
        name, content, changes = chance.choice(SINGLE)
        (directory / name).write_bytes(chance.choice(changes)(content, chance))


def open_and_read(directory: Path) -> bool:
    """Whether the checkpoint could be read; every error but ours comes through."""
    try:
        checkpoint = Checkpoint.open(directory)
    except CheckpointError as error:
        if len(str(error).splitlines()) > 12 or len(str(error)) > 2000:
            raise AssertionError(f"a message too long to read: {error}") from error
        return False
    sizes = {file.name: file.stat().st_size for file in directory.iterdir()}
    for view in checkpoint.values():
        size = sizes[Path(view.file.path).name]
        assert view.nbytes <= size
        array = view.numpy()
        assert (array.shape, array.dtype) == (view.shape, view.dtype)
        array.tobytes()  # every byte can be read
    return True


def watched(directory: Path) -> tuple[bool, int]:
    """(whether the checkpoint could be read, bytes that were taken for it)."""
    _opened.clear()
    _is_watched.set()
    tracemalloc.start()
    try:
        return open_and_read(directory), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        _is_watched.clear()


@pytest.mark.parametrize("part", range(4))
def test_files_that_are_changed_at_random_are_read_or_refused(tmp_path, part):
    read = 0
    for number in range(part * CASES // 4, (part + 1) * CASES // 4):
        directory = tmp_path / "case"
        directory.mkdir()
        make_case(directory, random.Random(number))
        most = MEMORY[0] + MEMORY[1] * sum(file.stat().st_size for file in directory.iterdir())
        try:
            is_read, peak = watched(directory)
            if peak > most:  # now and then Python enlarges a table of its own, such as that of all names; not twice
                peak = watched(directory)[1]
        except Exception as error:
            raise AssertionError(f"case {number} raised {error!r}") from error
        assert all(Path(file).parent == directory for file in _opened), f"case {number} opened {_opened}"
        assert peak <= most, f"case {number} took {peak} bytes, more than {most}"
        read += is_read
        shutil.rmtree(directory)

    assert 0.02 < read / (CASES / 4) < 0.98  # both ways out are taken
