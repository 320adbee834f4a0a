"""Archives that were made to do harm are refused before anything of them is written outside, in one line."""

from __future__ import annotations

import json
import os
import stat
import struct
import zipfile

import pytest
from made_wheels import make_wheel

from automodels_cli.checking import wheels as reading


@pytest.fixture
def refused(here, capsys, tmp_path, monkeypatch):
    """Checks a wheel that has to be refused; the message."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))

    def run(wheel):
        code = here(["check", str(wheel), "--json"])
        document = json.loads(capsys.readouterr().out)
        assert code == 2, document
        assert document["kind"] == "error"
        assert list(place.iterdir()) == []
        return document["error"]["message"]

    return run


def with_entry(wheel, name, data=b"x", *, mode=None, system=None):
    with zipfile.ZipFile(wheel, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.filename = entry.orig_filename = name
        if mode is not None:
            entry.create_system, entry.external_attr = 3, mode << 16
        archive.writestr(entry, data)
    return wheel


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/evil.py", "flax_nano/../../evil.py", "flax_nano//evil.py", "./evil.py", "a/./b", "a/.."],
)
def test_a_name_that_leaves_is_refused(refused, tmp_path, name):
    message = refused(with_entry(make_wheel(tmp_path), name))

    assert "leaves the directory" in message
    assert not (tmp_path / "evil.py").exists()


@pytest.mark.parametrize("name", ["a\\b.py", "C:evil.py", "a\x1b[31m.py", "a\nb.py", "x" * 401, "con\u202e.py"])
def test_a_name_that_is_none_on_some_system_is_refused(refused, tmp_path, name):
    message = refused(with_entry(make_wheel(tmp_path), name))

    assert "is no name for a file" in message
    assert "\x1b" not in message


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(refused, tmp_path, kind):
    assert "is a link or a device" in refused(
        with_entry(make_wheel(tmp_path), "flax_nano/x", b"/etc/passwd", mode=kind | 0o777)
    )


def test_names_that_are_one_file_on_some_systems_are_refused(refused, tmp_path):
    assert "one file on some systems" in refused(with_entry(make_wheel(tmp_path), "flax_nano/CONFIG.py"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(refused, tmp_path):
    assert "one file on some systems" in refused(with_entry(make_wheel(tmp_path), "flax_nano/config.py"))


def test_a_file_in_the_place_of_a_directory_is_refused(refused, tmp_path):
    message = refused(with_entry(make_wheel(tmp_path), "flax_nano"))

    assert "cannot be read as a wheel" in message or "one file" in message


def test_a_bomb_is_refused_before_it_is_unpacked(refused, tmp_path):
    wheel = make_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flax_nano/zeros.bin", bytes(64 << 20))

    assert "would unpack to" in refused(wheel)


def test_a_size_that_is_declared_too_small_is_refused(refused, tmp_path):
    wheel = make_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flax_nano/large.bin", bytes(1 << 20))
    data = bytearray(wheel.read_bytes())
    while (at := data.find(struct.pack("<I", 1 << 20))) >= 0:
        data[at : at + 4] = struct.pack("<I", 10)
    wheel.write_bytes(data)

    assert "cannot be read as a wheel" in refused(wheel)


def test_more_files_than_anybody_has_are_refused(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "FILES", 5)

    assert "entries" in refused(make_wheel(tmp_path))


def test_a_directory_of_an_archive_that_would_fill_memory_is_refused(refused, tmp_path):
    wheel = make_wheel(tmp_path)
    data = bytearray(wheel.read_bytes())
    end = data.rfind(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", 1 << 31)
    wheel.write_bytes(data)

    assert "are allowed" in refused(wheel)


def test_entries_that_overlap_are_refused(refused, tmp_path):
    wheel = make_wheel(tmp_path)
    data = bytearray(wheel.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 20 : at + 24] = struct.pack("<I", 4000)
        at = data.find(b"PK\x01\x02", at + 1)
    wheel.write_bytes(data)

    assert "overlap" in refused(wheel) or "cannot be read" in refused(wheel)


def test_an_encrypted_entry_is_refused(refused, tmp_path):
    wheel = make_wheel(tmp_path)
    data = bytearray(wheel.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    wheel.write_bytes(data)

    assert "is encrypted" in refused(wheel)


@pytest.mark.parametrize("keep", [0, 1, 22, 100, 500, 900])
def test_a_wheel_that_was_cut_off_is_refused(refused, tmp_path, keep):
    wheel = make_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:keep])

    assert "wheel" in refused(wheel) or "zip" in refused(wheel)


def test_damaged_bytes_never_end_in_a_traceback(here, capsys, tmp_path):
    wheel = make_wheel(tmp_path)
    data = wheel.read_bytes()
    for at in range(0, len(data), 23):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        wheel.write_bytes(damaged)

        code = here(["check", str(wheel), "--json"])

        assert code in (0, 1, 2), (at, capsys.readouterr())
        json.loads(capsys.readouterr().out)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no FIFOs")
def test_a_fifo_is_not_waited_for(refused, tmp_path):
    os.mkfifo(tmp_path / "x.whl")

    assert "regular file" in refused(tmp_path / "x.whl") or "neither" in refused(tmp_path / "x.whl")


def test_two_distributions_in_one_wheel_are_refused(refused, tmp_path):
    wheel = make_wheel(tmp_path, {"other-1.0.dist-info/METADATA": "Name: other\nVersion: 1.0\n"})

    assert "2 directories *.dist-info" in refused(wheel)
