"""Files that are taken for weights and are something else."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile

import pytest

from automodels.checkpoint.impostors import impostor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize %b\n"


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("head", "description", "hint"),
    [
        (POINTER % (b"ab12" * 16, b"4912345678"), "a Git LFS pointer (4.9 GB, sha256 ab12…)", "git lfs pull"),
        (POINTER % (b"cd34" * 16, b"1234"), "a Git LFS pointer (1234 bytes, sha256 cd34…)", "git lfs pull"),
        (POINTER.replace(b"\n", b"\r\n") % (b"ab12" * 16, b"7"), "a Git LFS pointer (7 bytes, sha256 ab12…)", "lfs"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        (POINTER % (b"zz", b"9" * 40), "a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page", "download"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "a web page", "download"),
        (b"<!-- generated --><html>", "a web page", "download"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page", "download"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "a web page", "download"),
        (zipped(), "a zip archive (PyTorch's .bin format is one)", "convert"),
        (gzip.compress(b"weights", mtime=0), "a compressed archive", "Unpack"),
        (b"\xfd7zXZ\x00", "a compressed archive", "Unpack"),
        (b"BZh91AY&SY", "a compressed archive", "Unpack"),
        *[(pickle.dumps({"a": 1}, protocol=p), "a Python pickle", "never opened") for p in (2, 3, 4, 5)],
        (b' {"weight_map": {}}', "JSON", "index"),
        (b"", "empty", "Download"),
        (b"\0", "full of zeros (an interrupted download)", "Download"),
        (bytes(1024), "full of zeros (an interrupted download)", "Download"),
        (b"404: Not Found\n", "text ('404: Not Found')", "Download"),
        (b"Access denied.\n\tAsk for it.\n", "text ('Access denied.')", "Download"),
    ],
)
def test_what_people_find_instead_of_weights_is_named_with_what_to_do(head, description, hint):
    found = impostor(head)

    assert found is not None
    assert found.description == description
    assert hint in " ".join(found.hints)


@pytest.mark.parametrize(
    "head",
    [
        b'\x40\x00\x00\x00\x00\x00\x00\x00{"a": {"dtype"',
        b"\x93NUMPY",
        b"\xff" * 100,
        b"\x80\x63 not a pickle",
        b"terminal \x1b[31m",
        bytes(1000) + b"\x01",
    ],
)
def test_anything_else_is_left_to_the_reader(head):
    assert impostor(head) is None
