"""What a file is that should hold weights and does not: pointers, web pages, archives, truncated downloads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Impostor:
    """What was found instead of weights."""

    description: str
    hints: Sequence[str] = ()


def impostor(file: str) -> Impostor | None:
    """What a file's first bytes say it is, if it is one of the things that people find instead of weights."""
    with open(file, "rb") as stream:
        head = stream.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(_LFS):
        return Impostor(description=f"a Git LFS pointer{_lfs_details(head)}", hints=["Run: git lfs pull"])
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return Impostor(description="a web page", hints=["The download got an error page; download the file again."])
    if head.startswith(b"PK\x03\x04"):
        return Impostor(description="a zip archive (PyTorch's .bin format is one)", hints=["Rename or convert it."])
    if head.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"BZh")):
        return Impostor(description="a compressed archive", hints=["Unpack it."])
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Impostor(description="a Python pickle", hints=["Convert it to safetensors; pickles are never opened."])
    if text.startswith(b"{"):
        return Impostor(description="JSON", hints=["Is it the index? Shards lie beside it."])
    if not head:
        return Impostor(description="empty", hints=["Download it again."])
    if not head.strip(b"\0"):
        return Impostor(description="full of zeros (an interrupted download)", hints=["Download it again."])
    return None


def _lfs_details(head: bytes) -> str:
    size = re.search(rb"^size (\d{1,15})", head, re.MULTILINE)
    digest = re.search(rb"^oid sha256:([0-9a-f]{4})", head, re.MULTILINE)
    details = [f"{int(size[1]) / 1e9:.1f} GB" if int(size[1]) >= 1e8 else f"{int(size[1])} bytes"] if size else []
    details += [f"sha256 {digest[1].decode()}…"] if digest else []
    return f" ({', '.join(details)})" if details else ""
