"""Where the files of an uncompressed zip archive lie: its directory, read and verified, and nothing unpacked.

Only what torch writes is accepted: stored entries without encryption, one after the other in one file. Python's zipfile
is not used because it is lenient where two readers could disagree on what a file holds.
Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (4.3.7 local header, 4.3.12 directory, 4.3.16 end).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from automodels.errors import CheckpointFormatError
from automodels.plugins.scan import shown

DIRECTORY_BYTES = 32 << 20  # 300,000 entries
NAME_LENGTH = 512

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_FULL = 0xFFFFFFFF  # the true number stands in the extra field
_COMMENT = 0xFFFF  # bytes at most, after the end record
_ENCRYPTED = 1 | 1 << 6 | 1 << 13


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of an archive; its data stand in the archive as they are."""

    name: str
    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class _Record:
    """One line of the directory."""

    name: bytes
    header: int
    size: int


def read_directory(stream: BinaryIO, size: int, file: str) -> dict[str, Entry]:
    """Name → entry of an archive of `size` bytes, called `file` in messages.

    Raises CheckpointFormatError when it is truncated, compressed, encrypted, has names twice or entries that overlap.
    """
    start, length, count = _directory(stream, size, file)
    if length > DIRECTORY_BYTES or count * _ENTRY.size > length:
        raise CheckpointFormatError(f"{file}: its directory has {length} bytes for {count} files, which cannot be.")
    records = _records(_read(stream, start, length, file), count, file)
    entries: dict[str, Entry] = {}
    end = 0
    for record in sorted(records, key=lambda record: record.header):
        entry = _entry(stream, record, file)
        if entry.name in entries:
            raise CheckpointFormatError(f"{file}: {shown(entry.name)} stands there twice.")
        if record.header < end or entry.start + entry.size > start:
            raise CheckpointFormatError(f"{file}: the data of {shown(entry.name)} overlap something else.")
        end = entry.start + entry.size
        entries[entry.name] = entry
    return entries


def _directory(stream: BinaryIO, size: int, file: str) -> tuple[int, int, int]:
    """(first byte, bytes, entries) of the directory, from the record at the end of the archive."""
    tail_start = max(0, size - _END.size - _COMMENT)
    tail = _read(stream, tail_start, size - tail_start, file)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise CheckpointFormatError(
            f"{file} is truncated: a zip archive without the directory at its end.", hints=["Download it again."]
        )
    _, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, place)
    end = tail_start + place
    if end + _END.size + comment != size:
        raise CheckpointFormatError(f"{file} has bytes after the end of the zip archive.")
    if (locator := end - _LOCATOR_64.size) >= 0:
        magic, _, end_64, _ = _LOCATOR_64.unpack(_read(stream, locator, _LOCATOR_64.size, file))
        if magic == b"PK\x06\x07" and end_64 + _END_64.size <= locator:
            end = end_64
            magic, _, _, _, disk, first_disk, here, count, length, start = _END_64.unpack(
                _read(stream, end_64, _END_64.size, file)
            )
            if magic != b"PK\x06\x06":
                raise CheckpointFormatError(f"{file}: the 64-bit end of its directory is not where it should be.")
    if disk or first_disk or here != count or start + length != end:
        raise CheckpointFormatError(f"{file}: the end of the zip archive does not fit its directory.")
    return start, length, count


def _records(directory: bytes, count: int, file: str) -> list[_Record]:
    records = []
    place = 0
    for _ in range(count):
        if place + _ENTRY.size > len(directory):
            raise CheckpointFormatError(f"{file}: its directory ends before its {count} files.")
        magic, _, _, flags, method, _, _, _, packed, size, name_size, extra_size, comment_size, _, _, _, header = (
            _ENTRY.unpack_from(directory, place)
        )
        place += _ENTRY.size
        name = directory[place : place + name_size]
        extra = directory[place + name_size : place + name_size + extra_size]
        place += name_size + extra_size + comment_size
        if magic != b"PK\x01\x02" or place > len(directory) or name_size > NAME_LENGTH:
            raise CheckpointFormatError(f"{file}: its directory is damaged.")
        if method or flags & _ENCRYPTED:
            raise CheckpointFormatError(f"{file}: {shown(name)} is compressed or encrypted; torch writes neither.")
        size, packed, header = _wide(extra, (size, packed, header))
        if size != packed:
            raise CheckpointFormatError(f"{file}: {shown(name)} has {size} bytes, and {packed} in the archive.")
        records.append(_Record(name=name, header=header, size=size))
    if place != len(directory):
        raise CheckpointFormatError(f"{file}: its directory has {len(directory) - place} bytes too many.")
    return records


def _wide(extra: bytes, numbers: tuple[int, int, int]) -> list[int]:
    """(size, packed size, place of the header), those that need 64 bits taken from the extra field 1."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = extra[4 : 4 + length]
            break
        extra = extra[4 + length :]
    found = []
    for number in numbers:
        if number == _FULL and len(wide) >= 8:
            number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        found.append(number)
    return found


def _entry(stream: BinaryIO, record: _Record, file: str) -> Entry:
    """The entry of a record, which must agree with the header before its data."""
    magic, *_, name_size, extra_size = _LOCAL.unpack(_read(stream, record.header, _LOCAL.size, file))
    start = record.header + _LOCAL.size
    if magic != b"PK\x03\x04" or _read(stream, start, name_size, file) != record.name:
        raise CheckpointFormatError(f"{file}: {shown(record.name)} is not where the directory says.")
    try:
        name = record.name.decode()
    except UnicodeDecodeError as error:
        raise CheckpointFormatError(f"{file}: the name {shown(record.name)} is not UTF-8.") from error
    return Entry(name=name, start=start + name_size + extra_size, size=record.size)


def _read(stream: BinaryIO, start: int, length: int, file: str) -> bytes:
    try:
        stream.seek(start)
        data = stream.read(length)
    except (OverflowError, ValueError) as error:  # a place beyond what any file can have
        raise CheckpointFormatError(f"{file}: its directory points to byte {start}.") from error
    if len(data) < length:
        raise CheckpointFormatError(f"{file}: its directory points beyond its end.")
    return data
