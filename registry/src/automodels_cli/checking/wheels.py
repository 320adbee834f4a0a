"""A wheel as a Candidate: unpacked into a directory of its own, once every name in it is known to stay there.

The wheel is somebody else's file: counts and sizes are bounded before anything is allocated, what is written is what
was declared, and nothing but plain files and directories is made. Format: https://packaging.python.org/specifications/
binary-distribution-format/.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import stat
import zipfile
import zlib
from typing import NoReturn

from automodels.errors import InputError
from automodels.plugins.scan import Distribution, normalized, read_bounded, scan, shown
from automodels_cli.checking.candidate import Candidate
from automodels_cli.checking.codes import problem
from automodels_cli.findings import Finding

WHEEL_BYTES = 1 << 30
CONTENT_BYTES = 2 << 30  # unpacked
DIRECTORY_BYTES = 1 << 24  # of the archive's own directory, which zipfile reads at once
FILES = 20_000
RATIO = 200  # of a whole archive; text hardly reaches 20
SMALL = 1 << 24  # whatever its ratio
BLOCK = 1 << 20
_FILE_NAME = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")


def open_wheel(file: str, place: str) -> Candidate:
    """The candidate of a wheel, unpacked into the empty directory `place`.

    Raises InputError when it is none, or one that nobody should unpack.
    """
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            entries = _checked(archive, file)
            hashes = {entry.filename: _unpack(archive, entry, place) for entry in entries}
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(
            f"{file} cannot be read as a wheel: {said}.", hints=["Build it anew: python -m build"]
        ) from error
    found = list(scan([place]).distributions.values())
    if len(found) != 1:
        _refuse(file, f"it has {len(found)} directories *.dist-info, not one")
    (distribution,) = found
    early = (*_name_findings(file, distribution), *_record_findings(distribution, hashes))
    contents = tuple(sorted(hashes))
    return Candidate(
        kind="wheel", origin=file, distribution=distribution, path=(place,), contents=contents, early=early
    )


def _check_directory(file: str) -> None:
    """Refuses an archive whose directory would take much memory before it could be looked at."""
    size = os.path.getsize(file)
    if not stat.S_ISREG(os.stat(file).st_mode):
        _refuse(file, "it is no regular file")
    if size > WHEEL_BYTES:
        _refuse(file, f"it has {size} bytes, more than {WHEEL_BYTES}")
    with open(file, "rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 22))
        tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        _refuse(file, "it is no zip archive")
    count = int.from_bytes(tail[end + 10 : end + 12], "little")
    nbytes = int.from_bytes(tail[end + 12 : end + 16], "little")
    if count > FILES or nbytes > DIRECTORY_BYTES:
        _refuse(
            file, f"it has {count} entries, whose names take {nbytes} bytes; {FILES} and {DIRECTORY_BYTES} are allowed"
        )


def _checked(archive: zipfile.ZipFile, file: str) -> list[zipfile.ZipInfo]:
    """The plain files of an archive, if all of its entries are harmless; InputError otherwise."""
    entries = archive.infolist()
    if len(entries) > FILES:
        _refuse(file, f"it has {len(entries)} entries, more than {FILES}")
    seen: dict[str, str] = {}
    for entry in entries:
        if (reason := _harm(entry)) is not None:
            _refuse(file, f"{shown(entry.orig_filename)} {reason}")
        other = seen.setdefault(entry.filename.rstrip("/").casefold(), entry.filename)
        if other is not entry.filename:
            _refuse(file, f"it has {shown(entry.filename)} and {shown(other)}, which are one file on some systems")
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if packed > os.path.getsize(file):
        _refuse(file, "its entries overlap")
    if total > CONTENT_BYTES or (total > SMALL and total > RATIO * max(packed, 1)):
        _refuse(file, f"{packed} bytes in it would unpack to {total}")
    return [entry for entry in entries if not entry.is_dir()]


def _harm(entry: zipfile.ZipInfo) -> str | None:
    """Why an entry is not unpacked, or None."""
    name, mode = entry.orig_filename, entry.external_attr >> 16
    parts = name.rstrip("/").split("/")
    if not name.isprintable() or "\\" in name or ":" in name or len(name) > 400:
        return "is no name for a file on every system"
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "leaves the directory that it is unpacked into"
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        return "is a link or a device, not a file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in a way that wheels do not use"
    return None


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str) -> str:
    """Writes one file; returns its SHA-256 as RECORD has it. Not more is written than was declared."""
    target = os.path.join(place, *entry.filename.split("/"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    digest, left = hashlib.sha256(), entry.file_size
    with archive.open(entry) as source, open(target, "xb") as sink:
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{entry.filename} holds more than it declares")
            digest.update(block)
            sink.write(block)
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")


def _name_findings(file: str, distribution: Distribution) -> list[Finding]:
    """Whether the file name, the metadata's directory and the metadata agree."""
    name = os.path.basename(file)
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return [problem("C101", name, "the file's name is not NAME-VERSION-PYTHON-ABI-PLATFORM.whl; pip refuses it")]
    if normalized(match["name"]) != distribution.normalized or match["version"] != distribution.version:
        inside = os.path.basename(distribution.metadata)
        return [problem("C101", name, f"the file is called otherwise than what is in it, {inside}; pip refuses it")]
    return []


def _record_findings(distribution: Distribution, hashes: dict[str, str]) -> list[Finding]:
    """Differences between RECORD and the content."""
    inside = os.path.basename(distribution.metadata)
    data = read_bounded(os.path.join(distribution.metadata, "RECORD"), DIRECTORY_BYTES)
    if data is None:
        return [problem("C101", "RECORD", "RECORD is missing; pip cannot uninstall the plugin")]
    try:
        rows = [row for row in csv.reader(data.decode("utf-8").splitlines()) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        return [problem("C101", "RECORD", f"RECORD cannot be read: {error}")]
    listed = {row[0]: row[1] if len(row) > 1 else "" for row in rows}
    unhashed = {f"{inside}/{name}" for name in _UNHASHED}
    findings = []
    for what, names in (
        ("in the wheel, but not in RECORD", hashes.keys() - listed.keys() - unhashed),
        ("in RECORD, but not in the wheel", listed.keys() - hashes.keys() - unhashed),
        ("not what RECORD's hash says", _changed(listed, hashes, unhashed)),
    ):
        if names:
            findings.append(problem("C101", "RECORD", f"{_some(names)}: {what}"))
    return findings


def _changed(listed: dict[str, str], hashes: dict[str, str], unhashed: set[str]) -> set[str]:
    both = (listed.keys() & hashes.keys()) - unhashed
    return {name for name in both if listed[name].rstrip("=") != f"sha256={hashes[name]}"}


def _some(names: set[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:5]) + (f" and {len(first) - 5} more" if len(first) > 5 else "")


def _refuse(file: str, reason: str) -> NoReturn:
    raise InputError(f"{file} is not unpacked: {reason}.", hints=["Do not install it either."])
