"""What a file is that should hold weights and does not: pointers, web pages, archives, truncated downloads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from automodels.plugins.scan import shown

HEAD = 1024
"""Bytes at the start of a file that are looked at."""

_AGAIN = ("Download it again.",)
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Impostor:
    """What was found instead of weights."""

    description: str
    hints: Sequence[str] = ()


_PAGE = Impostor(description="a web page", hints=("The download got an error page; download the file again.",))
_ZIP = Impostor(description="a zip archive (PyTorch's .bin format is one)", hints=("Rename or convert it.",))
_ARCHIVE = Impostor(description="a compressed archive", hints=("Unpack it.",))
_PICKLE = Impostor(description="a Python pickle", hints=("Convert it to safetensors; pickles are never opened.",))
_JSON = Impostor(description="JSON", hints=("Is it the index? Shards lie beside it.",))

_BY_FIRST_BYTES = {
    (b"PK\x03\x04",): _ZIP,
    (b"\x1f\x8b", b"\xfd7zXZ", b"BZh"): _ARCHIVE,
    (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"): _PICKLE,
}
_BY_FIRST_LETTERS = {
    (b"<!", b"<html", b"<?xml", b"<head", b"<error"): _PAGE,
    (b"{",): _JSON,
}


def impostor(head: bytes) -> Impostor | None:
    """What a file's first HEAD bytes say it is, if it is one of the things that people find instead of weights."""
    if head.startswith(_LFS):
        return Impostor(description=f"a Git LFS pointer{_lfs_details(head)}", hints=("Run: git lfs pull",))
    letters = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, tables in ((head, _BY_FIRST_BYTES), (letters, _BY_FIRST_LETTERS)):
        if found := next((what for first, what in tables.items() if start.startswith(first)), None):
            return found
    if not head.strip(b"\0"):
        return Impostor(description="full of zeros (an interrupted download)" if head else "empty", hints=_AGAIN)
    if words := _text(head):
        return Impostor(description=f"text ({shown(words)})", hints=_AGAIN)
    return None


def _lfs_details(head: bytes) -> str:
    size = re.search(rb"^size (\d{1,18})\r?$", head, re.MULTILINE)
    digest = re.search(rb"^oid sha256:([0-9a-f]{4})", head, re.MULTILINE)
    details = [f"{int(size[1]) / 1e9:.1f} GB" if int(size[1]) >= 1e8 else f"{int(size[1])} bytes"] if size else []
    details += [f"sha256 {digest[1].decode()}…"] if digest else []
    return f" ({', '.join(details)})" if details else ""


def _text(head: bytes) -> str:
    """The first line of what is nothing but text, such as a server's answer; empty if it is anything else."""
    try:
        lines = head.decode("ascii").strip().splitlines()
    except UnicodeDecodeError:
        return ""
    return lines[0] if lines and all(line.expandtabs().isprintable() for line in lines) else ""
